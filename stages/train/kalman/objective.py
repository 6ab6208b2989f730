"""What paper 003 minimises (eq. 17): -CCC + lambda (RMSE of z' + RMSE of z'').

The state holds derivatives, so their truth and their unit have to be said; the paper does neither.
They are differences of the labels over a step of time, in units of that step:

    y'_t = (y_{t+h} - y_{t-h}) / 2,   y''_t = y_{t+h} - 2 y_t + y_{t-h}

With a step of one frame both are so small that their terms vanish (labels that keep their course
for a second change by a hundredth a frame); in units of a second the second derivative, which
grows with the square of the unit, outweighs everything. A step near the time in which affect
changes makes both comparable with the labels, and averages over an annotator's tremble.

Convention: a derivative is known where all three of its labels are; rows that do not count have no
influence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stages.train.losses.regression import average

EPSILON = 1e-12  # under the root, whose gradient is infinite at 0; labels vary by more than 1e-6


class Derivatives(NamedTuple):
    """First and second derivative, (B, L, K) each, and where they are known, (B, L, K) bool."""

    first: Tensor
    second: Tensor
    known: Tensor


def derivatives(labels: Tensor, counts: Tensor, step: int) -> Derivatives:
    """Differences of labels over `step` frames, in units of `step` frames.

    Parameters
    ----------
    labels : (B, L, K); anything where they do not count
    counts : (B, L, K) bool
    step : h >= 1
    """
    known, y = torch.zeros_like(counts), labels.masked_fill(~counts, 0.0)
    first, second = torch.zeros_like(y), torch.zeros_like(y)
    if labels.shape[1] > 2 * step:
        inner = slice(step, -step)
        before, after = y[:, : -2 * step], y[:, 2 * step :]
        known[:, inner] = counts[:, : -2 * step] & counts[:, inner] & counts[:, 2 * step :]
        first[:, inner] = (after - before) / 2
        second[:, inner] = after - 2 * y[:, inner] + before
    return Derivatives(first, second, known)


def rmse(truth: Tensor, said: Tensor, counts: Tensor) -> Tensor:
    """Root of the mean squared error per target over a batch (eq. 19).

    Parameters
    ----------
    truth, said : (B, L, K)
    counts : (B, L, K) bool

    Returns
    -------
    (K,), exactly 0 with a gradient of 0 where nothing counts
    """
    squares = (truth - said).masked_fill(~counts, 0.0).square().sum((0, 1))
    number = counts.sum((0, 1))
    mean = squares / number.clamp(min=1)
    return (mean + EPSILON).sqrt().masked_fill(number == 0, 0.0)


def derivative_error(truth: Derivatives, first: Tensor, second: Tensor) -> Tensor:
    """RMSE of both derivatives together, averaged over the targets that have any: a scalar."""
    together = rmse(truth.first, first, truth.known) + rmse(truth.second, second, truth.known)
    return average(together, truth.known.any(0).any(0))
