"""The delay between a face and its annotation (paper 003, III.C): y_t = sum_k f_k z_{t-k}.

"Manual" shifts by a whole number of frames that was found beforehand. "Adaptive" weighs the frames
around a delay that is learnt, with a Gaussian (eq. 14 to 16):

    mu = 100 tanh(mu'),   sigma^2 = softplus(sigma'^2),   f_k ~ exp(-(k - mu)^2 / 2 sigma^2),
    -D <= k <= D

Convention: delays are in frames, and a positive one says that annotations trail the face. Weights
are normalised over the frames that exist, also where a sequence begins or ends (the paper is
silent): where the delayed frame lies outside, the nearest one inside has nearly all the weight.

softplus(sigma'^2) never falls below ln 2 = 0.69, and its gradient vanishes at sigma' = 0, so sigma'
starts at 1 (sigma^2 = 1.31). The paper reports a learnt sigma^2 of 0.78 to 1.03 (Table IV) as very
small; read beside the floor that its own parametrisation has, that is as small as it can become,
and says nothing about how sharp a delay is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 100.0  # frames: mu = 100 tanh(mu')
START = 1.0  # of sigma'
BLOCK = 512  # outputs that are weighed at once: memory grows with BLOCK + 2 D, not with T^2


def delay_of(raw: Tensor) -> Tensor:
    """mu in (-100, 100) frames from mu'."""
    return LARGEST * raw.tanh()


def raw_delay(frames: float) -> float:
    """mu' from mu in (-100, 100) frames."""
    return math.atanh(frames / LARGEST)


def variance_of(raw: Tensor) -> Tensor:
    """sigma^2 in frames^2, at least ln 2, from sigma'."""
    return F.softplus(raw.square())


def kernel(offsets: Tensor, delay: Tensor, variance: Tensor, there: Tensor) -> Tensor:
    """Normalised weights of frames by how far they lie back.

    Parameters
    ----------
    offsets : k (..., S), frames back from the present one
    delay, variance : mu and sigma^2, broadcasting against the offsets
    there : which of them may be used, broadcasting against the offsets; at least one

    Returns
    -------
    (..., S), 0 where `there` is false, summing to 1. Computed from logarithms, because a frame
    that is far from mu is still the best there is if no other exists.
    """
    logarithms = -(offsets - delay).square() / (2 * variance)
    return logarithms.masked_fill(~there, -torch.inf).softmax(-1)


def weighed(values: Tensor, delay: Tensor, variance: Tensor, reach: int, past: bool) -> Tensor:
    """Adaptive alignment of whole sequences, each series by a delay of its own.

    Parameters
    ----------
    values : z (K, T, C), K series of T frames with C columns each
    delay, variance : mu and sigma^2 (K,), frames and frames^2
    reach : D
    past : whether only the present and past frames may be used, k >= 0, as one must live

    Returns
    -------
    y (K, T, C)
    """
    frames, interior = values.shape[-2], {}
    blocks = []
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        first, last = max(0, start - reach), min(frames, stop if past else stop + reach)
        geometry = (start - first, stop - first, last - first)
        if geometry not in interior:
            interior[geometry] = _weights(*geometry, delay, variance, reach, past)
        blocks.append(interior[geometry] @ values[:, first:last])
    return torch.cat(blocks, -2)


def shifted(values: Tensor, delays: Sequence[int]) -> Tensor:
    """Manual alignment: y_t = z_{t-d}; the first or last frame is held where there is none.

    Parameters
    ----------
    values : z (K, T, C)
    delays : d of each of the K series, whole frames
    """
    frames = values.shape[-2]
    at = torch.arange(frames, device=values.device)
    rows = [series[(at - d).clamp(0, frames - 1)] for series, d in zip(values, delays, strict=True)]
    return torch.stack(rows)


def smoothed(values: Tensor, mask: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing over the frames that count: the paper's baseline after its LSTM.

    Parameters
    ----------
    values : (B, T, K); rows outside the mask are not looked at
    mask : (B, T) bool
    deviation : of the Gaussian in frames, > 0; it ends at four of them

    Returns
    -------
    (B, T, K); exactly 0 where no frame that counts is within reach
    """
    reach = max(1, math.ceil(4 * deviation))
    offsets = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    bell = torch.exp(-offsets.square() / (2 * deviation**2)).expand(1, 1, -1)
    known = mask.unsqueeze(-1).to(values.dtype)

    def summed(rows: Tensor) -> Tensor:
        series = rows.mT.flatten(0, 1).unsqueeze(1)
        together: Tensor = F.conv1d(series, bell, padding=reach)
        return together.reshape(rows.mT.shape).mT

    inside = values.masked_fill(~mask.unsqueeze(-1), 0.0)
    weight = summed(known)
    return summed(inside) / weight.masked_fill(weight == 0, 1.0)


def _weights(
    start: int, stop: int, frames: int, delay: Tensor, variance: Tensor, reach: int, past: bool
) -> Tensor:
    """(K, stop - start, frames): what outputs start, ..., stop - 1 take from `frames` inputs."""
    outputs = torch.arange(start, stop, device=delay.device, dtype=delay.dtype)
    inputs = torch.arange(frames, device=delay.device, dtype=delay.dtype)
    offsets = outputs.unsqueeze(-1) - inputs
    there = (offsets.abs() <= reach) & ((offsets >= 0) if past else True)
    return kernel(offsets, delay[:, None, None], variance[:, None, None], there)
