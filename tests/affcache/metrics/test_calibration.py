"""Calibration against scipy, brute-force integration and what a true distribution must give."""

import math

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from affcache.metrics.calibration import (
    CALIBRATION,
    LEVELS,
    calibration,
    gaussian_crps,
    gaussian_nll,
    interval_coverage,
)


def drawn(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    mean, std = draw.normal(size=n), draw.uniform(0.05, 2, n)
    return mean + std * draw.normal(size=n), mean, std


def test_likelihood_is_scipys() -> None:
    y, m, s = drawn()
    assert gaussian_nll(y, m, s) == pytest.approx(-scipy.stats.norm.logpdf(y, m, s).mean())


@pytest.mark.parametrize("level", LEVELS)
def test_coverage_counts_what_scipys_interval_holds(level: float) -> None:
    y, m, s = drawn()
    low, high = scipy.stats.norm.interval(level, m, s)
    assert interval_coverage(y, m, s, level) == ((low <= y) & (y <= high)).mean()


def test_the_ranked_probability_score_is_its_integral() -> None:
    y, m, s = drawn(12)
    expected = []
    for value, mean, std in zip(y, m, s, strict=True):
        cdf = scipy.stats.norm(mean, std).cdf
        below = quad(lambda x, f=cdf: f(x) ** 2, mean - 12 * std, value)[0]
        above = quad(lambda x, f=cdf: (1 - f(x)) ** 2, value, mean + 12 * std)[0]
        expected.append(below + above)
    assert gaussian_crps(y, m, s) == pytest.approx(np.mean(expected), rel=1e-6)


def test_the_ranked_probability_score_is_the_expected_distance_less_half_the_spread() -> None:
    """CRPS = E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, eq. 21), drawn."""
    draw = np.random.default_rng(1)
    x, other = draw.normal(0.3, 0.7, (2, 2_000_000))
    expected = np.abs(x - 1.1).mean() - np.abs(x - other).mean() / 2
    assert gaussian_crps([1.1], [0.3], [0.7]) == pytest.approx(expected, rel=3e-3)


def test_a_narrow_distribution_is_scored_by_its_absolute_error() -> None:
    y, m, _ = drawn()
    assert gaussian_crps(y, m, np.full(200, 1e-9)) == pytest.approx(np.abs(y - m).mean())


def test_true_distributions_cover_what_they_promise_and_score_best() -> None:
    y, m, s = drawn(40_000)
    true = calibration(y, m, s)
    assert list(true) == list(CALIBRATION)
    for level in LEVELS:
        assert true[f"coverage_{100 * level:.0f}"] == pytest.approx(level, abs=0.01)
    assert true["std"] == pytest.approx(s.mean())
    for wrong in (0.6 * s, 1.6 * s):
        other = calibration(y, m, wrong)
        assert other["nll"] > true["nll"]
        assert other["crps"] > true["crps"]
    assert calibration(y, m, 0.6 * s)["coverage_80"] < 0.6
    assert calibration(y, m, 1.6 * s)["coverage_80"] > 0.9


def test_a_missing_value_is_not_passed_over() -> None:
    values = calibration([0.0, math.nan], [0.0, 0.0], [1.0, 1.0])
    assert all(math.isnan(value) for name, value in values.items() if name != "std")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [0.0], [0.0]), "a standard deviation of 0: expected only positive ones"),
        (([0.0], [0.0], [-1.0]), "a standard deviation of -1"),
        (([0.0, 1.0], [0.0], [1.0]), "three series of one length"),
        (([], [], []), "three series of one length"),
    ],
)
def test_what_is_no_distribution_is_refused(
    arguments: tuple[list[float], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(*arguments)


@pytest.mark.parametrize("level", [0.0, 1.0, 80.0])
def test_an_interval_has_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match="expected one between 0 and 1"):
        interval_coverage([0.0], [0.0], [1.0], level)
