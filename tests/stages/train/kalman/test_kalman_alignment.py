"""Shifts of predictions in time, against the paper's sums written out."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from stages.train.kalman.alignment import (
    BLOCK,
    delay_of,
    raw_delay,
    shifted,
    smoothed,
    variance_of,
    weighed,
)


def series(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def both(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def printed(values: Tensor, delay: float, variance: float, reach: int, past: bool) -> Tensor:
    """Eq. 14 to 16 of paper 003 for one series (T, C), over the frames that exist."""
    frames = len(values)
    out = torch.zeros_like(values)
    for t in range(frames):
        offsets = [k for k in range(0 if past else -reach, reach + 1) if 0 <= t - k < frames]
        exponents = [-((k - delay) ** 2) / (2 * variance) for k in offsets]
        f = [math.exp(e - max(exponents)) for e in exponents]
        for k, weight in zip(offsets, f, strict=True):
            out[t] += weight / sum(f) * values[t - k]
    return out


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("frames", [1, 5, 40])
def test_it_is_the_papers_sum_over_the_frames_that_exist(frames: int, past: bool) -> None:
    values, delays, variances = series(2, frames, 3), both(3.3, -6.0), both(0.8, 9.0)
    found = weighed(values, delays, variances, 10, past)
    for k in range(2):
        expected = printed(values[k], float(delays[k]), float(variances[k]), 10, past)
        torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-12)


def test_blocks_of_a_long_sequence_join_without_a_seam() -> None:
    values = series(1, 2 * BLOCK + 77, 1)
    found = weighed(values, both(20.4), both(2.0), 30, past=False)
    expected = printed(values[0], 20.4, 2.0, 30, past=False)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-12)


def test_inside_a_sequence_it_is_scipys_gaussian_filter() -> None:
    values = series(1, 200, 1)
    found = weighed(values, both(0.0), both(4.0), 20, past=False)[0, 20:-20, 0]
    expected = scipy.ndimage.gaussian_filter1d(values[0, :, 0].numpy(), 2.0, truncate=10)
    np.testing.assert_allclose(found, expected[20:-20], atol=1e-12)


def test_where_the_delayed_frame_is_outside_the_nearest_one_stands_in() -> None:
    found = weighed(series(1, 50, 1), both(80.0), both(0.8), 100, past=False)
    torch.testing.assert_close(found[0], series(1, 50, 1)[0, :1].expand(50, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("delay", [-4, 0, 7])
def test_a_positive_delay_brings_the_past_to_the_present(delay: int) -> None:
    values = series(1, 60, 1)
    moved = shifted(values, [delay])
    sharp = weighed(values, both(delay), both(1e-3), 20, past=False)
    torch.testing.assert_close(moved, sharp, rtol=0, atol=1e-12)
    middle = range(10, 50)
    assert all(moved[0, t, 0] == values[0, t - delay, 0] for t in middle)


def test_looking_back_only_changes_nothing_where_no_weight_lies_ahead() -> None:
    values, variance = series(1, 90, 1), both(1.3)
    delay = both(5 * math.sqrt(1.3))
    ways = [weighed(values, delay, variance, 30, past)[:, 30:] for past in (False, True)]
    torch.testing.assert_close(*ways, rtol=0, atol=1e-6)


def test_gradcheck_of_the_delay_the_width_and_what_is_delayed() -> None:
    raw = both(0.05, -0.02).requires_grad_(), both(1.0, 0.6).requires_grad_()
    values = series(2, 15, 2).requires_grad_()

    def outcome(delay: Tensor, width: Tensor, rows: Tensor) -> Tensor:
        return weighed(rows, delay_of(delay), variance_of(width), 8, past=False)

    assert torch.autograd.gradcheck(outcome, (*raw, values))


def test_the_papers_parametrisation_has_a_floor_at_ln_2_and_no_gradient_there() -> None:
    raw = torch.tensor([0.0, 1.0], requires_grad=True)
    variance = variance_of(raw)
    variance.sum().backward()
    torch.testing.assert_close(variance.detach(), torch.tensor([math.log(2), 1.3132617]))
    assert raw.grad is not None
    assert raw.grad[0] == 0
    assert raw.grad[1] > 0


def test_delays_lie_within_a_hundred_frames() -> None:
    assert delay_of(torch.tensor(9.0)) <= 100
    assert float(delay_of(torch.tensor(raw_delay(42.0)))) == pytest.approx(42, abs=1e-4)


def test_smoothing_is_a_weighted_mean_of_the_frames_that_count() -> None:
    values, mask = series(2, 40, 3), torch.rand(2, 40) < 0.6
    found = smoothed(values.masked_fill(~mask[..., None], torch.nan), mask, 2.5)
    for b in range(2):
        for t in range(40):
            k = torch.arange(max(0, t - 10), min(40, t + 11))
            weight = torch.exp(-((k - t).double() ** 2) / 12.5) * mask[b, k]
            if weight.sum() > 0:
                mean = (weight[:, None] * values[b, k]).sum(0) / weight.sum()
                torch.testing.assert_close(found[b, t], mean, rtol=0, atol=1e-12)
            else:
                assert (found[b, t] == 0).all()
