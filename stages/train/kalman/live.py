"""A filter that runs beside a camera: what it keeps between two frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stages.train.kalman.alignment import kernel
from stages.train.kalman.layer import Memory
from stages.train.kalman.model import Belief


class Live(NamedTuple):
    """Everything that the past says about the next frame; never changed, only replaced.

    Attributes
    ----------
    memories : of the G networks' LSTMs
    belief : of the G filters, mean (G, 1, n) and covariance (G, 1, n, n)
    recent : level and standard deviation of the last frames, (K, frames, 2), oldest first, no more
        than alignment looks back
    """

    memories: tuple[Memory | None, ...]
    belief: Belief
    recent: Tensor


class Now(NamedTuple):
    """What is said about the present frame: mean (K,) and standard deviation (K,)."""

    mean: Tensor
    std: Tensor


def remember(recent: Tensor, new: Tensor, frames: int) -> Tensor:
    """The last `frames` of (K, T, C) and a new one (K, C), oldest first."""
    return torch.cat([recent, new.unsqueeze(1)], 1)[:, -frames:]


def look_back(recent: Tensor, delay: Tensor, variance: Tensor) -> Tensor:
    """Adaptive alignment of the present frame from the past ones: (K, T, C) to (K, C)."""
    back = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device, dtype=recent.dtype)
    there = torch.ones_like(back, dtype=torch.bool)
    weights = kernel(back, delay[:, None], variance[:, None], there)
    return (weights.unsqueeze(1) @ recent).squeeze(1)


def held_back(recent: Tensor, delays: Sequence[int]) -> Tensor:
    """Manual alignment of the present frame: the one d frames ago, or the oldest there is."""
    last = recent.shape[1] - 1
    rows = [series[min(max(last - d, 0), last)] for series, d in zip(recent, delays, strict=True)]
    return torch.stack(rows)
