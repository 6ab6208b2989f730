"""Concordance and its relatives against brute force, scipy, torchmetrics, sklearn and pingouin."""

import math

import numpy as np
import pingouin
import pytest
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional import concordance_corrcoef

from affcache.metrics import ccc, icc, mae, mse, pcc, rmse

VALUES = st.integers(-100, 100).map(lambda whole: whole / 100)
PAIRS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=VALUES), arrays(np.float64, n, elements=VALUES)
    )
)


def series(n=200, seed=0):
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=n)
    return truth, 0.6 * truth + 0.5 * draw.normal(size=n) + 0.3


def test_ccc_is_its_formula_summed_by_hand():
    y, p = (s.tolist() for s in series(50))
    n, my, mp = 50, sum(y) / 50, sum(p) / 50
    vy, vp = sum((a - my) ** 2 for a in y) / n, sum((b - mp) ** 2 for b in p) / n
    cov = sum((a - my) * (b - mp) for a, b in zip(y, p, strict=True)) / n
    assert ccc(y, p) == pytest.approx(2 * cov / (vy + vp + (my - mp) ** 2), rel=1e-13)


def test_ccc_is_the_papers_equation_3_with_scipys_correlation():
    y, p = series()
    rho = scipy.stats.pearsonr(y, p).statistic
    below = y.var() + p.var() + (y.mean() - p.mean()) ** 2
    assert ccc(y, p) == pytest.approx(2 * y.std() * p.std() * rho / below, rel=1e-13)


def test_torchmetrics_ccc_is_ours_with_n_minus_1_in_variances_and_covariance():
    y, p = series(40)
    theirs = float(concordance_corrcoef(torch.from_numpy(p), torch.from_numpy(y)))
    cov = 2 * np.cov(y, p)[0, 1]
    assert theirs == pytest.approx(
        cov / (y.var(ddof=1) + p.var(ddof=1) + (y.mean() - p.mean()) ** 2), rel=1e-6
    )
    assert theirs > ccc(y, p)
    assert theirs == pytest.approx(ccc(y, p), abs=0.01)


@given(PAIRS)
def test_ccc_is_symmetric_bounded_and_exactly_1_with_itself(pair):
    y, p = pair
    assert ccc(y, y) == 1.0
    assert ccc(y, p) == pytest.approx(ccc(p, y), abs=1e-12)
    assert abs(ccc(y, p)) <= 1 + 1e-12
    assert abs(ccc(y, p)) <= abs(pcc(y, p)) + 1e-7 or np.ptp(y) == np.ptp(p) == 0


@given(PAIRS, st.floats(-3, 3), st.floats(0.1, 3))
def test_ccc_does_not_change_if_both_series_are_shifted_and_stretched(pair, shift, stretch):
    y, p = pair
    assert ccc(y * stretch + shift, p * stretch + shift) == pytest.approx(ccc(y, p), abs=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.1, -1 / 3, 1e6])
def test_constant_series_have_the_documented_results(level):
    flat, varying = np.full(7, level), np.arange(7.0)
    assert ccc(flat, flat) == 1.0
    assert ccc(flat, flat + 0.5) == 0.0
    assert ccc(flat, varying) == ccc(varying, flat) == 0.0
    assert pcc(flat, varying) == pcc(flat, flat) == 0.0
    assert icc(flat, flat + 0.5) == 1.0
    assert icc(flat, varying) == 0.0


def test_nan_and_infinity_make_every_metric_nan_without_a_warning():
    for bad in (math.nan, math.inf):
        for metric in (ccc, pcc, icc):
            assert math.isnan(metric([0.0, bad, 1.0], [0.0, 0.5, 1.0]))


def test_pcc_is_scipys():
    y, p = series()
    assert pcc(y, p) == pytest.approx(scipy.stats.pearsonr(y, p).statistic, rel=1e-13)


@pytest.mark.parametrize("ours", [(mse, "mean_squared_error"), (mae, "mean_absolute_error")])
def test_errors_are_sklearns(ours):
    metric, name = ours
    y, p = series()
    assert metric(y, p) == pytest.approx(getattr(sklearn.metrics, name)(y, p), rel=1e-13)
    assert rmse(y, p) == pytest.approx(sklearn.metrics.root_mean_squared_error(y, p), rel=1e-13)


def icc_from_mean_squares(y, p):
    """(W - S) / (W + S) with the mean squares of the two-way layout, summed by hand."""
    n, grand = len(y), (y.mean() + p.mean()) / 2
    rows = (y + p) / 2
    between = 2 * np.sum((rows - grand) ** 2) / (n - 1)
    residual = sum(np.sum((rater - rows - rater.mean() + grand) ** 2) for rater in (y, p)) / (n - 1)
    return (between - residual) / (between + residual)


def test_icc_is_the_ratio_of_mean_squares():
    y, p = series()
    assert icc(y, p) == pytest.approx(icc_from_mean_squares(y, p), rel=1e-12)


@pytest.mark.filterwarnings("ignore")  # pingouin's own
def test_icc_is_pingouins_consistency_of_single_raters():
    import pandas

    y, p = series(60)
    table = pandas.DataFrame(
        {
            "frame": np.tile(np.arange(60), 2),
            "rater": np.repeat(["truth", "prediction"], 60),
            "score": np.concatenate([y, p]),
        }
    )
    found = pingouin.intraclass_corr(table, targets="frame", raters="rater", ratings="score")
    kinds = found.set_index("Type")["ICC"]
    name = next(k for k in kinds.index if k in ("ICC3", "ICC(C,1)"))
    assert icc(y, p) == pytest.approx(float(kinds[name]), abs=1e-6)


def test_the_papers_printed_icc_without_its_1_over_n_tends_to_minus_1():
    y, p = series(5000)
    both = np.concatenate([y, p])
    w = np.sum((both - both.mean()) ** 2) / len(y)
    s = np.sum((y - p) ** 2)
    assert (w - s) / (w + s) < -0.99
    assert icc(y, p) > 0.6


@pytest.mark.parametrize("metric", [ccc, pcc, icc, mse, rmse, mae])
def test_series_of_other_shapes_are_refused(metric):
    for pair in (([1.0], [1.0, 2.0]), ([], []), ([[1.0]], [[1.0]])):
        with pytest.raises(ValueError, match="two series of one length"):
            metric(*pair)
