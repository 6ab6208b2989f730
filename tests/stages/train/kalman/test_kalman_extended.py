"""The extended filter against a loop that inverts, and where it is linear the linear one."""

import pytest
import torch
from torch import Tensor

from stages.train.kalman.extended import extended, first_belief, turn
from stages.train.kalman.linear import filtered
from stages.train.kalman.model import Belief, LinearModel
from tests.stages.train.kalman.oracles import (
    observations,
    some_mask,
    some_model,
    textbook_extended,
)

START = Belief(torch.tensor([0.3, -0.2, 0.5]).double(), 0.4 * torch.eye(3).double())


def close(found: Tensor, expected: Tensor, within: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=within)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 1), (2, 2)])
def test_absorbing_an_observation_part_by_part_is_absorbing_it_at_once(n: int, m: int) -> None:
    model, seen, mask = some_model(n, m), observations(3, 60, m), some_mask(3, 60)
    start = Belief(START.mean[:n], START.covariance[:n, :n])
    means, covariances = textbook_extended(model, seen, *start, mask)
    found = extended(model, seen, mask, start)
    close(found.mean, means)
    close(found.covariance, covariances)


def test_small_states_move_as_in_the_linear_filter() -> None:
    model, seen, mask = some_model(), 1e-5 * observations(2, 80, 3), some_mask(2, 80)
    close(extended(model, seen, mask).mean / 1e-5, filtered(model, seen, mask).mean / 1e-5, 1e-6)


def test_frames_that_are_not_seen_are_not_looked_at() -> None:
    model, seen, mask = some_model(), observations(2, 30, 3), some_mask(2, 30)
    hidden = seen.masked_fill(~mask[..., None], torch.nan)
    close(extended(model, hidden, mask).mean, extended(model, seen, mask).mean, 0)


def test_a_transition_that_grows_stays_bounded_and_sure_of_something() -> None:
    found = extended(some_model(radius=1.5), observations(1, 1000, 3))
    assert (found.mean.abs() < 3).all()
    assert (torch.linalg.eigvalsh(found.covariance) > 0).all()


def test_one_frame_at_a_time_is_the_same() -> None:
    model, seen, mask = some_model(), observations(1, 40, 3), some_mask(1, 40)
    found, belief = extended(model, seen, mask), first_belief(model)
    for t in range(40):
        belief = turn(belief, model, seen[0, t], mask[0, t])
        close(found.mean[0, t], belief.mean, 1e-14)
        close(found.covariance[0, t], belief.covariance, 1e-14)


def test_a_model_per_dimension_is_as_good_as_each_alone() -> None:
    model, seen, mask = some_model(leading=(2, 1)), observations(2, 4, 20, 3), some_mask(2, 4, 20)
    both = extended(model, seen, mask)
    for k in range(2):
        own = extended(LinearModel(*(matrix[k, 0] for matrix in model)), seen[k], mask[k])
        close(both.mean[k], own.mean)


@pytest.mark.parametrize("radius", [0.95, 1.1])
def test_gradients_are_those_of_the_loop(radius: float) -> None:
    weights = observations(2, 40, 3, seed=8), observations(2, 40, 3, 3, seed=9)
    mask = some_mask(2, 40)
    gradients = []
    for way in (extended, None):
        leaves = [m.clone().requires_grad_() for m in some_model(radius=radius)]
        seen = observations(2, 40, 3).requires_grad_()
        model = LinearModel(*leaves)
        start = first_belief(model)
        if way is None:
            means, covariances = textbook_extended(model, seen, *start, mask)
        else:
            means, covariances = way(model, seen, mask, start)
        ((means * weights[0]).sum() + (covariances * weights[1]).sum()).backward()
        q, r = (leaf.grad.diagonal() for leaf in leaves[2:])
        gradients.append([leaves[0].grad, leaves[1].grad, q, r, seen.grad])
    for found, expected in zip(*gradients, strict=True):
        close(found / expected.abs().max(), expected / expected.abs().max(), 1e-8)


@pytest.mark.parametrize("given", [False, True])
def test_gradcheck(given: bool) -> None:
    base, mask = some_model(2, 2), some_mask(2, 5)

    def outcome(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        f, h, q, r, seen = leaves[:5]
        model = LinearModel(f, h, torch.diag_embed(q.exp()), torch.diag_embed(r.exp()))
        start = Belief(leaves[5], torch.diag_embed(leaves[6].exp())) if given else None
        return tuple(extended(model, seen, mask, start))  # type: ignore[return-value]

    leaves = [
        base.transition,
        base.observation,
        base.process.diagonal().log(),
        base.noise.diagonal().log(),
        observations(2, 5, 2),
        *observations(2, 2, seed=3).unbind(),
    ]
    free = [leaf.clone().requires_grad_() for leaf in leaves[: 7 if given else 5]]
    assert torch.autograd.gradcheck(outcome, free)
