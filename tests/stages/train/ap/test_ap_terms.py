"""The terms of an Affective Process' objective against loops, torch.distributions and sampling."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from stages.train.ap.terms import REGULARISERS, masked_mean, over_frames, regulariser
from stages.train.gaussians import Gaussian
from tests.stages.train.ap.ap_windows import drawn, some_windows


def test_masked_mean_is_a_loop_over_frames() -> None:
    rows, mask = torch.randn(3, 9, 4, generator=drawn()), torch.rand(3, 9, generator=drawn(1)) < 0.5
    mask[2] = False
    expected = [rows[i][mask[i]].sum(0) / max(int(mask[i].sum()), 1) for i in range(3)]
    torch.testing.assert_close(masked_mean(rows, mask), torch.stack(expected))


def some_outputs() -> tuple[Gaussian, torch.Tensor]:
    """Outputs (3, 20, 2) and which of them are known, a few labels missing by themselves."""
    windows = some_windows()
    output = Gaussian(windows.features[..., :2], 0.1 + windows.features[..., 2:4].abs())
    known = windows.mask[..., None] & (torch.rand(3, 20, 2, generator=drawn(2)) < 0.9)
    return output, known


def test_terms_are_summed_or_averaged_over_frames_that_count() -> None:
    terms = torch.randn(2, 6, 2, generator=drawn())
    known = (torch.rand(2, 6, generator=drawn(1)) < 0.5)[..., None].expand(2, 6, 2)
    totals = torch.stack([terms[i][known[i]].sum() for i in range(2)])
    frames = known[..., 0].sum(-1)
    torch.testing.assert_close(over_frames(terms, known, "sum"), totals)
    torch.testing.assert_close(over_frames(terms, known, "mean"), totals / frames)
    nothing = torch.zeros_like(known)
    assert torch.equal(over_frames(terms * torch.nan, nothing, "mean"), torch.zeros(2))


@pytest.mark.parametrize("reading", ["sum", "mean"])
def test_the_regulariser_is_a_divergence_from_the_standard_normal(reading: str) -> None:
    output, known = some_outputs()
    expected = torch.zeros(3, dtype=torch.float64)
    for i in range(3):
        for k in range(2):
            pooled = [getattr(rows[i, known[i, :, k], k], reading)() for rows in output]
            expected[i] += kl_divergence(Normal(*pooled), Normal(0.0, 1.0))
    torch.testing.assert_close(regulariser(output, known, reading), expected)


@pytest.mark.parametrize("reading", ["root", "average", "mixture"])
def test_the_other_readings_are_moments_of_what_they_name(reading: str) -> None:
    """Drawn 200,000 times: a sum, an average and a random one of independent outputs."""
    output, known = some_outputs()
    mean, std = (rows[0, known[0, :, 0], 0] for rows in output)
    noise = torch.randn(200_000, len(mean), generator=drawn(4), dtype=torch.float64)
    drawn_outputs = mean + std * noise
    said = {
        "root": drawn_outputs.sum(1),
        "average": drawn_outputs.mean(1),
        "mixture": drawn_outputs.flatten(),
    }[reading]
    expected = kl_divergence(Normal(said.mean(), said.std()), Normal(0.0, 1.0)).item()
    one = Gaussian(*(rows[:1, :, :1] for rows in output))
    found = regulariser(one, known[:1, :, :1], reading).item()
    assert found == pytest.approx(expected, rel=0.01)


def test_a_batch_pools_as_one_long_sequence_would() -> None:
    output, known = some_outputs()
    long = Gaussian(*(rows.reshape(1, 60, 2) for rows in output))
    torch.testing.assert_close(
        regulariser(output, known, "batch"),
        regulariser(long, known.reshape(1, 60, 2), "mixture"),
    )


def test_single_frames_have_a_divergence_each() -> None:
    output, known = some_outputs()
    known = known.all(-1, keepdim=True).expand_as(known)
    each = kl_divergence(Normal(*output), Normal(0.0, 1.0)).sum(-1)
    expected = [each[i, known[i, :, 0]].mean() for i in range(3)]
    torch.testing.assert_close(regulariser(output, known, "frames"), torch.stack(expected))


@pytest.mark.parametrize("reading", REGULARISERS)
def test_a_sequence_without_frames_contributes_nothing_and_no_gradient(reading: str) -> None:
    output, known = some_outputs()
    rows = Gaussian(*(part.clone().requires_grad_() for part in output))
    found = regulariser(rows, torch.zeros_like(known), reading)
    assert torch.equal(found, torch.zeros_like(found))
    for gradient in torch.autograd.grad(found.sum(), rows):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("reading", REGULARISERS)
def test_gradients_of_every_reading_are_those_of_finite_differences(reading: str) -> None:
    output, known = some_outputs()
    inputs = [part[:, :5].clone().requires_grad_() for part in output]
    assert torch.autograd.gradcheck(
        lambda mean, std: regulariser(Gaussian(mean, std), known[:, :5], reading), inputs
    )


def best_deviation(reading: str, frames: int) -> float:
    """Which common standard deviation of outputs at 0 the regulariser likes most."""
    known = torch.ones(1, frames, 1, dtype=torch.bool)
    each = torch.logspace(-3, 1.5, 2_000)
    values = [
        regulariser(
            Gaussian(torch.zeros(1, frames, 1), torch.full((1, frames, 1), float(s))),
            known,
            reading,
        ).item()
        for s in each
    ]
    return each[int(torch.tensor(values).argmin())].item()


@pytest.mark.parametrize("frames", [10, 70])
@pytest.mark.parametrize(
    ("reading", "power"),
    [("sum", -1), ("root", -0.5), ("mean", 0), ("mixture", 0), ("frames", 0), ("average", 0.5)],
)
def test_each_reading_wants_another_deviation_at_length(
    reading: str, power: float, frames: int
) -> None:
    """Why the printed sum is not the default: at L frames it wants deviations of 1 / L."""
    assert best_deviation(reading, frames) == pytest.approx(frames**power, rel=0.02)
