"""Diagonal Gaussians against torch.distributions and finite differences."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from stages.train.gaussians import Gaussian, divergence, negative_log_likelihood, sample


def some_gaussian(seed: int, *shape: int) -> Gaussian:
    draw = torch.Generator().manual_seed(seed)
    mean = torch.randn(*shape, generator=draw, dtype=torch.float64)
    return Gaussian(mean, 0.05 + torch.rand(*shape, generator=draw, dtype=torch.float64))


def test_likelihood_is_that_of_torch_distributions() -> None:
    under, values = some_gaussian(0, 3, 4), some_gaussian(1, 3, 4).mean
    torch.testing.assert_close(
        negative_log_likelihood(values, under), -Normal(under.mean, under.std).log_prob(values)
    )


def test_divergence_is_that_of_torch_distributions() -> None:
    of, to = some_gaussian(2, 5, 6), some_gaussian(3, 5, 6)
    torch.testing.assert_close(
        divergence(of, to), kl_divergence(Normal(of.mean, of.std), Normal(to.mean, to.std))
    )


def test_divergence_is_zero_only_between_equals() -> None:
    of, to = some_gaussian(4, 7), some_gaussian(5, 7)
    assert torch.equal(divergence(of, of), torch.zeros(7, dtype=torch.float64))
    assert (divergence(of, to) > 0).all()


@pytest.mark.parametrize("function", [divergence, None], ids=["divergence", "likelihood"])
def test_gradients_are_those_of_finite_differences(function: object) -> None:
    of, to = some_gaussian(6, 4), some_gaussian(7, 4)
    inputs = [tensor.requires_grad_() for tensor in (*of, *to)]

    def value(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        if function is None:
            return negative_log_likelihood(a, Gaussian(c, d)) + b
        return divergence(Gaussian(a, b), Gaussian(c, d))

    assert torch.autograd.gradcheck(value, inputs)


def test_samples_have_the_mean_and_deviation_and_pass_gradients() -> None:
    mean = torch.full((200_000,), 0.3, requires_grad=True)
    std = torch.full((200_000,), 0.2, requires_grad=True)
    drawn = sample(Gaussian(mean, std), torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.002)
    assert drawn.std().item() == pytest.approx(0.2, abs=0.002)
    drawn.sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones_like(mean))
    assert std.grad is not None
