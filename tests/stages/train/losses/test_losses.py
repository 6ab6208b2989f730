"""Losses against the metrics that evaluation uses, torch's distributions and finite differences."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from affcache import metrics
from stages.train.gaussians import Gaussian
from stages.train.losses import regression as losses

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def nll(truth: Tensor, said: Tensor, mask: Tensor) -> Tensor:
    """The likelihood of a mean and a deviation that both depend on one argument."""
    return losses.gaussian_nll(truth, Gaussian(said, 0.9 + 0.3 * said), mask)


def per_sequence(truth: Tensor, said: Tensor, mask: Tensor) -> Tensor:
    return losses.ccc_loss(truth, said, mask, "sequence")


LOSSES: list[Loss] = [losses.ccc_loss, per_sequence, losses.mse, nll]


def some_batch(shift: float = 0.2) -> tuple[Tensor, Tensor, Tensor]:
    """Labels with gaps of their own, predictions and a mask: 4 windows, 30 frames, 3 targets."""
    draw = torch.Generator().manual_seed(2)
    truth, noise = torch.rand(2, 4, 30, 3, generator=draw, dtype=torch.float64) * 2 - 1
    said = 0.6 * truth + 0.3 * noise + shift
    missing = torch.rand(4, 30, 3, generator=draw) < 0.2
    return truth.masked_fill(missing, torch.nan), said, torch.rand(4, 30, generator=draw) < 0.7


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_pooled_concordance_is_that_of_the_metrics_over_all_counted_frames(shift: float) -> None:
    truth, said, mask = some_batch(shift)
    counts = losses.counted(truth, mask)
    expected = [
        metrics.ccc(truth[..., d][counts[..., d]], said[..., d][counts[..., d]]) for d in range(3)
    ]
    ours = losses.ccc(truth, said, mask)
    torch.testing.assert_close(ours, torch.tensor(expected).double(), rtol=1e-6, atol=1e-7)
    loss = losses.ccc_loss(truth, said, mask)
    assert loss.item() == pytest.approx(1 - sum(expected) / 3, abs=1e-6)


def test_concordance_of_each_sequence_is_that_of_the_metrics() -> None:
    truth, said, mask = some_batch()
    counts = losses.counted(truth, mask)
    ours = losses.ccc(truth, said, mask, "sequence")
    assert ours.shape == (4, 3)
    for b in range(4):
        for d in range(3):
            here = counts[b, :, d]
            expected = metrics.ccc(truth[b, here, d], said[b, here, d])
            assert ours[b, d].item() == pytest.approx(expected, abs=1e-6)


def test_a_perfect_prediction_costs_nothing_and_its_mirror_image_two() -> None:
    truth = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(1, 9, 1)
    mask = torch.ones(1, 9, dtype=torch.bool)
    assert losses.ccc_loss(truth, truth, mask).item() == pytest.approx(0, abs=1e-7)
    assert losses.ccc_loss(truth, -truth, mask).item() == pytest.approx(2, abs=1e-7)


def test_squared_error_is_that_of_the_metrics() -> None:
    truth, said, mask = some_batch()
    counts = losses.counted(truth, mask)
    expected = metrics.mse(truth[counts], said[counts])
    assert losses.mse(truth, said, mask).item() == pytest.approx(expected, rel=1e-12)


def test_likelihood_is_that_of_torch_distributions() -> None:
    truth, said, mask = some_batch()
    counts = losses.counted(truth, mask)
    std = 0.9 + 0.3 * said
    expected = -Normal(said[counts], std[counts]).log_prob(truth[counts]).mean()
    torch.testing.assert_close(nll(truth, said, mask), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    truth, said, mask = some_batch()
    small = truth[:2, :8], mask[:2, :8]
    given = said[:2, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda said: loss(small[0], said, small[1]), given)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("garbage", [7.0, torch.nan, torch.inf])
def test_what_does_not_count_has_no_influence_and_no_gradient(loss: Loss, garbage: float) -> None:
    truth, said, mask = some_batch()
    nowhere = ~losses.counted(truth, mask)
    said = said.masked_fill(nowhere, garbage).requires_grad_()
    other = truth.masked_fill(~mask.unsqueeze(-1), 55.0)
    value = loss(other, said, mask)
    clean = some_batch()[1].requires_grad_()
    assert value == loss(truth, clean, mask)
    (gradient,) = torch.autograd.grad(value, said)
    assert (gradient[nowhere] == 0).all()
    assert torch.equal(gradient, *torch.autograd.grad(loss(truth, clean, mask), clean))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_anything_to_compare_costs_exactly_nothing(loss: Loss) -> None:
    truth, said, mask = some_batch()
    said.requires_grad_()
    for labels, frames in ((truth, mask & False), (truth * torch.nan, mask)):
        value = loss(labels, said, frames)
        assert value == 0
        (gradient,) = torch.autograd.grad(value, said)
        assert (gradient == 0).all()


@pytest.mark.parametrize("over", losses.OVER)
def test_targets_without_labels_leave_the_others_as_they_are(over: str) -> None:
    truth, said, mask = some_batch()
    alone = losses.ccc_loss(truth[..., :2], said[..., :2], mask, over)
    truth[..., 2] = torch.nan
    torch.testing.assert_close(losses.ccc_loss(truth, said, mask, over), alone)


def test_a_single_frame_has_no_concordance_and_no_loss() -> None:
    truth, said, mask = some_batch()
    truth = truth.nan_to_num(0.3)
    mask = torch.zeros_like(mask)
    mask[1, 4] = True
    assert (losses.ccc(truth, said, mask) == 0).all()
    assert losses.ccc_loss(truth, said, mask) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_series_have_a_bounded_gradient(dtype: torch.dtype) -> None:
    """An action unit that never shows in a batch, and a head that says so."""
    truth = torch.full((2, 50, 1), 0.3, dtype=dtype)
    said = torch.full((2, 50, 1), 0.3, dtype=dtype).requires_grad_()
    value = losses.ccc(truth, said, torch.ones(2, 50, dtype=torch.bool)).sum()
    (gradient,) = torch.autograd.grad(value, said)
    assert abs(value.item()) < 1e-3
    assert gradient.abs().max() < 1e-3
