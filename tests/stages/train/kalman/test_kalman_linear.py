"""The Kalman filter against the textbook's loop, one joint Gaussian, scipy and pykalman."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from pykalman import KalmanFilter
from torch import Tensor

from affcache.errors import RunError
from stages.train.kalman.covariance import stationary, walked
from stages.train.kalman.linear import filtered, settled_belief
from stages.train.kalman.model import Belief, LinearModel, advance, correct, spread
from tests.stages.train.kalman.oracles import (
    joint_gaussian,
    observations,
    some_mask,
    some_model,
    textbook,
)

Way = Callable[[LinearModel, Tensor], tuple[Tensor, Tensor]]
START = Belief(
    torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64),
    torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.2, 0.7]], dtype=torch.float64),
)


def close(found: Tensor, expected: Tensor, within: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=within)


@pytest.mark.parametrize("radius", [0.5, 0.95, 1.0, 1.05])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_stationary_covariance_solves_the_riccati_equation_as_scipys_does(
    radius: float, m: int
) -> None:
    model = some_model(3, m, radius=radius)
    f, h, q, r = (matrix.numpy() for matrix in model)
    expected = torch.from_numpy(scipy.linalg.solve_discrete_are(f.T, h.T, q, r))
    close(spread(stationary(model).covariance, model), expected)


def test_an_observed_transition_that_grows_settles_and_stays_settled() -> None:
    model = some_model(radius=1.3)
    belief = settled_belief(model)
    exact = filtered(model, observations(1, 2000, 3), before=belief)
    close(exact.covariance[-1], belief.covariance)
    assert (torch.linalg.eigvalsh(exact.covariance) > 0).all()


def test_a_state_that_grows_unseen_is_an_error_that_says_what_to_do() -> None:
    model = some_model(3, 1, radius=1.1)
    hidden = torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(RunError, match=r"does not settle.*learning_rate"):
        stationary(model._replace(observation=hidden))


def test_a_model_per_dimension_is_as_good_as_each_alone() -> None:
    model, seen = some_model(leading=(2, 1)), observations(2, 4, 30, 3)
    both = filtered(model, seen, some_mask(2, 4, 30))
    for k in range(2):
        alone = LinearModel(*(matrix[k, 0] for matrix in model))
        own = filtered(alone, seen[k], some_mask(2, 4, 30)[k])
        close(both.mean[k], own.mean)
        close(both.covariance[k], own.covariance)


@pytest.mark.parametrize("radius", [0.9, 1.05])
def test_the_scan_with_the_stationary_gain_is_the_textbook_loop(radius: float) -> None:
    model, seen = some_model(radius=radius), observations(2, 300, 3)
    start = settled_belief(model)
    means, covariances = textbook(model, seen, *start)
    found = filtered(model, seen)
    close(found.mean, means)
    close(found.covariance.expand_as(covariances), covariances)


@pytest.mark.parametrize("frames", [1, 2, 7, 200])
def test_gains_from_a_given_belief_are_the_textbooks(frames: int) -> None:
    model, seen = some_model(), observations(2, frames, 3)
    means, covariances = textbook(model, seen, *START)
    found = filtered(model, seen, before=START)
    close(found.mean, means)
    close(found.covariance.expand_as(covariances), covariances)


def test_missing_frames_predict_without_updating() -> None:
    model, seen, mask = some_model(), observations(3, 90, 3), some_mask(3, 90)
    mask[1] = False
    means, covariances = textbook(model, seen, *START, mask)
    found = filtered(model, seen, mask, START)
    close(found.mean, means)
    close(found.covariance, covariances)
    unseen = seen.masked_fill(~mask[..., None], torch.nan)
    close(filtered(model, unseen, mask, START).mean, found.mean, 0)


def test_it_is_what_conditioning_one_big_gaussian_says() -> None:
    model, seen, mask = some_model(3, 2), observations(1, 12, 2), some_mask(1, 12, share=0.6)
    truth = joint_gaussian(model, seen[0], *START, mask[0])
    found = filtered(model, seen, mask, START)
    np.testing.assert_allclose(found.mean[0], truth.means, atol=1e-10)
    np.testing.assert_allclose(found.covariance[0], truth.covariances, atol=1e-10)


def test_it_is_what_pykalman_says() -> None:
    model, seen, mask = some_model(), observations(1, 60, 3), some_mask(1, 60)
    f, h, q, r = (matrix.numpy() for matrix in model)
    # pykalman's belief is about the first frame, before looking at it
    first = advance(START, model)
    other = KalmanFilter(f, h, q, r, None, None, first.mean.numpy(), first.covariance.numpy())
    means, covariances = other.filter(
        np.ma.array(seen[0], mask=~mask[0].numpy()[:, None].repeat(3, 1))
    )
    found = filtered(model, seen, mask, START)
    np.testing.assert_allclose(found.mean[0], means, atol=1e-10)
    np.testing.assert_allclose(found.covariance[0], covariances, atol=1e-10)


def test_one_frame_at_a_time_is_the_same() -> None:
    model, seen, mask = some_model(), observations(1, 50, 3), some_mask(1, 50)
    found, belief = filtered(model, seen, mask, START), START
    for t in range(50):
        belief = advance(belief, model)
        belief = correct(belief, model, seen[0, t]) if mask[0, t] else belief
        close(found.mean[0, t], belief.mean)
        close(found.covariance[0, t], belief.covariance)


def fast(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    found = filtered(model, seen)
    return found.mean, found.covariance.expand(2, 40, 3, 3)


def slow(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    return textbook(model, seen, *settled_belief_by_walking(model))


def settled_belief_by_walking(model: LinearModel) -> Belief:
    """As many frames of the loop as it takes to forget its start, with their gradients."""
    n = model.transition.shape[-1]
    start = Belief(torch.zeros(n).double(), torch.eye(n).double())
    _, covariances = textbook(model, torch.zeros(1, 150, len(model.noise)).double(), *start)
    return Belief(start.mean, covariances[0, -1])


def fast_exact(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    found = filtered(model, seen, before=Belief(START.mean, model.process))
    return found.mean, found.covariance.expand(2, 40, 3, 3)


def slow_exact(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    return textbook(model, seen, START.mean, model.process)


def fast_masked(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(filtered(model, seen, some_mask(2, 40)))  # type: ignore[return-value]


def slow_masked(model: LinearModel, seen: Tensor) -> tuple[Tensor, Tensor]:
    return textbook(model, seen, *settled_belief_by_walking(model), some_mask(2, 40))


@pytest.mark.parametrize(
    ("quick", "loop"),
    [(fast, slow), (fast_exact, slow_exact), (fast_masked, slow_masked)],
    ids=["stationary", "exact", "masked"],
)
@pytest.mark.parametrize("radius", [0.95, 1.02])
def test_gradients_are_those_of_the_textbook_loop(quick: Way, loop: Way, radius: float) -> None:
    weights = observations(2, 40, 3, seed=8), observations(2, 40, 3, 3, seed=9)
    gradients = []
    for way in (quick, loop):
        leaves = [m.clone().requires_grad_() for m in some_model(radius=radius)]
        seen = observations(2, 40, 3).requires_grad_()
        means, covariances = way(LinearModel(*leaves), seen)
        ((means * weights[0]).sum() + (covariances * weights[1]).sum()).backward()
        gradients.append([leaf.grad for leaf in (*leaves, seen)])
    for found, expected in zip(*gradients, strict=True):
        symmetrised = [g if g.shape[-1] != g.shape[-2] else g + g.mT for g in (found, expected)]
        scale = symmetrised[1].abs().max()
        close(symmetrised[0] / scale, symmetrised[1] / scale, 1e-8)


def from_vectors(f: Tensor, h: Tensor, q: Tensor, r: Tensor) -> LinearModel:
    return LinearModel(f, h, torch.diag_embed(q.exp()), torch.diag_embed(r.exp()))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_gradcheck(masked: bool, given: bool) -> None:
    base = some_model(2, 2)
    mask = some_mask(2, 6) if masked else None

    def outcome(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        model = from_vectors(*leaves[:4])
        start = Belief(leaves[5], torch.diag_embed(leaves[6].exp())) if given else None
        return tuple(filtered(model, leaves[4], mask, start))  # type: ignore[return-value]

    leaves = [
        base.transition,
        base.observation,
        base.process.diagonal().log(),
        base.noise.diagonal().log(),
        observations(2, 6, 2),
        *observations(2, 2, seed=3).unbind(),
    ]
    free = [leaf.clone().requires_grad_() for leaf in leaves[: 7 if given else 5]]
    assert torch.autograd.gradcheck(outcome, free)


def test_walking_stops_where_it_settles_and_says_the_same() -> None:
    model = some_model()
    seen = torch.ones(4000, dtype=torch.bool)
    gains = walked(model, torch.eye(3).double(), seen)
    close(gains.covariance[-1], stationary(model).covariance)
    close(gains.gain[-1], stationary(model).gain)
