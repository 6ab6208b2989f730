"""Diagonal Gaussians: how surprising data is under one, and how far one is from another.

Convention: the second parameter is always a standard deviation, never a variance or a logarithm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """Independent normal distributions: mean (..., n) and standard deviation (..., n) > 0."""

    mean: Tensor
    std: Tensor


def negative_log_likelihood(values: Tensor, under: Gaussian) -> Tensor:
    """-log N(values; mean, std) of every element, in nats; shapes broadcast."""
    error = (values - under.mean) / under.std
    return 0.5 * error.square() + under.std.log() + HALF_LOG_2PI


def divergence(of: Gaussian, to: Gaussian) -> Tensor:
    """Kullback-Leibler D(of || to) of every element, in nats; 0 where they are equal."""
    ratio = of.std / to.std
    shift = (of.mean - to.mean) / to.std
    return 0.5 * (ratio.square() + shift.square() - 1) - ratio.log()


def sample(from_: Gaussian, generator: torch.Generator) -> Tensor:
    """A draw that gradients pass through: mean + std * noise (the reparametrisation trick)."""
    noise = torch.randn(
        from_.mean.shape,
        generator=generator,
        device=from_.mean.device,
        dtype=from_.mean.dtype,
    )
    return from_.mean + from_.std * noise
