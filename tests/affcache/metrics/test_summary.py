"""Spread matching, intervals over people and the table of scores."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from affcache.metrics import (
    ccc,
    icc,
    match_spread,
    paired_interval,
    pcc,
    rmse,
    summarise,
    t_quantile,
)


def test_a_matched_prediction_has_the_references_mean_and_spread_and_its_own_shape():
    p = np.random.default_rng(0).normal(3, 0.1, 500)
    matched = match_spread(p, -0.2, 0.4)
    assert matched.mean() == pytest.approx(-0.2)
    assert matched.std() == pytest.approx(0.4)
    assert pcc(p, matched) == pytest.approx(1)


def test_a_constant_prediction_becomes_the_reference_mean():
    assert match_spread(np.full(3, 0.1), 0.25, 0.4).tolist() == [0.25] * 3


def test_what_has_no_spread_to_match_is_refused():
    for bad in (([], 0, 1), ([[1.0]], 0, 1), ([1.0, 2.0], 0, -1)):
        with pytest.raises(ValueError, match="spread"):
            match_spread(*bad)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 11, 30, 101, 1000])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.8, 0.975, 0.9995])
def test_t_quantiles_are_scipys(freedom, probability):
    theirs = scipy.stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_paired_interval_is_scipys_one_sample_interval(differences, level):
    found = paired_interval(differences, level)
    if np.ptp(differences) > 1e-6:
        theirs = scipy.stats.ttest_1samp(differences, 0).confidence_interval(level)
        assert found.mean == pytest.approx(np.mean(differences), abs=1e-12)
        assert found.low == pytest.approx(theirs.low, abs=1e-7)
        assert found.high == pytest.approx(theirs.high, abs=1e-7)
    assert found.low <= found.mean <= found.high


def test_an_interval_needs_two_people():
    with pytest.raises(ValueError, match="two or more"):
        paired_interval([0.1])
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(1.0, 3)


def sequences():
    draw = np.random.default_rng(0)
    truths = [draw.normal(size=(n, 2)) for n in (40, 7, 1)]
    return truths, [t + 0.5 * draw.normal(size=t.shape) + 0.1 for t in truths]


def test_pooled_scores_are_those_of_all_frames_in_one_series():
    truths, said = sequences()
    table = summarise(truths, said)
    t, p = np.concatenate(truths), np.concatenate(said)
    assert table["ccc_valence"] == ccc(t[:, 0], p[:, 0])
    assert table["rmse_arousal"] == rmse(t[:, 1], p[:, 1])
    assert table["pcc_mean"] == pytest.approx((pcc(t[:, 0], p[:, 0]) + pcc(t[:, 1], p[:, 1])) / 2)
    assert len(table) == 9


def test_scores_over_sequences_average_those_with_at_least_two_frames():
    truths, said = sequences()
    table = summarise(truths, said, "sequences")
    by_hand = [ccc(t[:, 0], p[:, 0]) for t, p in list(zip(truths, said, strict=True))[:2]]
    assert table["ccc_valence"] == pytest.approx(np.mean(by_hand))


def test_a_table_of_nothing_or_of_unlike_shapes_is_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        summarise([], [])
    with pytest.raises(ValueError, match="nothing to score"):
        summarise([np.full((5, 2), np.nan)], [np.zeros((5, 2))])
    with pytest.raises(ValueError, match="shapes that differ"):
        summarise([np.zeros((5, 2))], [np.zeros((5, 3))])
    with pytest.raises(ValueError, match="expected one of"):
        summarise([np.zeros((5, 2))], [np.zeros((5, 2))], "videos")


def test_expressions_are_scored_as_scikit_learn_does_on_the_annotated_frames():
    draw = np.random.default_rng(1)
    right = draw.integers(0, 7, 300)
    said = draw.dirichlet(np.ones(7), 300)
    said[:150] += np.eye(7)[right[:150]]
    truth = np.eye(7)[right]
    truth[::9] = np.nan
    kept = np.isfinite(truth[:, 0])
    guess = said.argmax(axis=1)
    names = list("abcdefg")
    table = summarise([truth[:100], truth[100:]], [said[:100], said[100:]], "frames", names, "expr")
    each = sklearn.metrics.f1_score(right[kept], guess[kept], average=None, labels=range(7))
    assert [table[f"f1_{n}"] for n in names] == pytest.approx(each.tolist())
    assert table["f1_mean"] == pytest.approx(each.mean())
    assert table["accuracy_mean"] == pytest.approx(np.mean(right[kept] == guess[kept]))


def test_units_are_scored_one_by_one_where_they_are_annotated():
    draw = np.random.default_rng(2)
    truth = (draw.random((200, 3)) < 0.4).astype(float)
    truth[:50, 0] = np.nan
    truth[:, 2] = np.nan
    said = np.clip(truth * 0.4 + draw.random((200, 3)) * 0.5, 0, 1)
    said[np.isnan(said)] = 0.7
    table = summarise([truth], [said], "frames", ["AU1", "AU2", "AU4"], "au")
    first = sklearn.metrics.f1_score(truth[50:, 0], said[50:, 0] >= 0.5)
    assert table["f1_AU1"] == pytest.approx(first)
    assert np.isnan(table["f1_AU4"])
    assert table["f1_mean"] == pytest.approx((table["f1_AU1"] + table["f1_AU2"]) / 2)


def test_intensities_have_an_error_on_the_scale_from_0_to_5():
    truth = np.array([[0.0], [2.0], [5.0]])
    said = np.array([[1.0], [2.0], [4.0]])
    table = summarise([truth / 2.5 - 1], [said / 2.5 - 1], "frames", ["AU6"], "au_intensity")
    assert table["mse_AU6"] == pytest.approx(2 / 3)
    assert table["icc_mean"] == pytest.approx(icc(truth[:, 0], said[:, 0]))
