"""Filter, smoothers and predictions against one big Gaussian, and the AR(2) against scipy."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from stages.simulate import gaussian
from stages.simulate.gaussian import Evidence
from stages.simulate.process import double_pole
from tests.stages.simulate.joint import given

ROWS, OFFSET = 14, 0.4
MODEL = double_pole(6.0)


@pytest.fixture
def evidence() -> Evidence:
    """Three sequences: rows without a face, changing noise, one that starts afresh twice."""
    draw = np.random.default_rng(3)
    fresh = np.zeros((3, ROWS), bool)
    fresh[1, [5, 9]] = True
    return Evidence(
        shown=draw.normal(size=(3, ROWS, 2)),
        noise=np.exp(draw.normal(size=(3, ROWS))),
        seen=draw.random((3, ROWS)) < 0.7,
        fresh=fresh,
    )


def check(evidence: Evidence, found: gaussian.Estimate, last: np.ndarray) -> None:
    """Compare row by row with the joint Gaussian of the rows up to `last[row]`."""
    for sequence in range(3):
        for row in range(ROWS):
            seen = np.arange(ROWS) <= last[row]
            mean, variance = given(evidence, sequence, seen, row, MODEL, OFFSET)
            np.testing.assert_allclose(found.mean[sequence, row], mean, atol=1e-10)
            np.testing.assert_allclose(found.variance[sequence, row], variance, atol=1e-10)


def test_the_filter_is_the_joint_gaussian_given_the_past(evidence: Evidence) -> None:
    run = gaussian.filtered(evidence, MODEL, OFFSET)
    check(evidence, gaussian.causal(run), np.arange(ROWS))


def test_the_smoother_is_the_joint_gaussian_given_everything(evidence: Evidence) -> None:
    run = gaussian.filtered(evidence, MODEL, OFFSET)
    check(evidence, gaussian.smoothed(run), np.full(ROWS, ROWS))


@pytest.mark.parametrize("frames", [0, 1, 4, 40])
def test_looking_ahead_is_the_joint_gaussian_given_some_of_the_future(
    evidence: Evidence, frames: int
) -> None:
    run = gaussian.filtered(evidence, MODEL, OFFSET)
    check(evidence, gaussian.looked_ahead(run, frames), np.arange(ROWS) + frames)


@pytest.mark.parametrize("frames", [0, 1, 4, 40])
def test_predicting_is_the_joint_gaussian_given_the_distant_past(
    evidence: Evidence, frames: int
) -> None:
    run = gaussian.filtered(evidence, MODEL, OFFSET)
    check(evidence, gaussian.predicted(run, frames), np.arange(ROWS) - frames)


def test_the_smoother_ends_where_the_filter_does(evidence: Evidence) -> None:
    run = gaussian.filtered(evidence, MODEL, OFFSET)
    np.testing.assert_array_equal(
        gaussian.smoothed(run).mean[:, -1], gaussian.causal(run).mean[:, -1]
    )


def test_a_sequence_without_offset_is_smoothed_although_its_covariance_is_singular(
    evidence: Evidence,
) -> None:
    found = gaussian.smoothed(gaussian.filtered(evidence, MODEL, 0.0))
    mean, variance = given(evidence, 1, np.ones(ROWS, bool), 7, MODEL, 0.0)
    np.testing.assert_allclose(found.mean[1, 7], mean, atol=1e-10)
    np.testing.assert_allclose(found.variance[1, 7], variance, atol=1e-10)


def test_what_is_not_seen_has_no_influence(evidence: Evidence) -> None:
    other = evidence._replace(
        shown=np.where(evidence.seen[..., None], evidence.shown, 1e6),
        noise=np.where(evidence.seen, evidence.noise, 7.0),
    )
    one, two = (gaussian.smoothed(gaussian.filtered(e, MODEL, OFFSET)) for e in (evidence, other))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.variance, two.variance)


@pytest.mark.parametrize("frames", [2.0, 40.0])
def test_the_stationary_covariance_solves_lyapunovs_equation(frames: float) -> None:
    model = double_pole(frames)
    p = model.pole
    step = np.array([[2 * p, -p * p], [1, 0]])
    solved = solve_discrete_lyapunov(step, np.diag([model.innovation, 0]))
    np.testing.assert_allclose(gaussian.prior(model, 0.0)[:2, :2], solved, rtol=1e-6)


def test_correlations_follow_the_recursion() -> None:
    p, rho = MODEL.pole, MODEL.correlation
    for k in range(2, 30):
        assert rho(k) == pytest.approx(2 * p * rho(k - 1) - p * p * rho(k - 2), abs=1e-12)
    assert (rho(0), rho(1)) == (1, pytest.approx(MODEL.neighbour))
    assert rho(-5) == rho(5)
