"""Optimisers by their recipe's name, in one fused kernel where the device has one.

Parameters to which a head gives a learning rate of its own (`Head.rates`) stand in groups of their
own, whose `factor` scales whatever the schedule says.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from affcache.errors import RecipeError
from stages.train.heads import Head
from stages.train.recipe import Optimiser

FUSED = ("cpu", "cuda")


def make(head: Head, settings: Optimiser, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser of a recipe over all parameters of a head.

    Raises
    ------
    RecipeError
        If Nesterov's variant is asked for without momentum.
    """
    shared: dict[str, Any] = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "fused": device.type in FUSED or None,
    }
    betas = (settings.beta1, settings.beta2)
    match settings.name:
        case "adam":
            return torch.optim.Adam(groups(head), betas=betas, **shared)
        case "adamw":
            return torch.optim.AdamW(groups(head), betas=betas, **shared)
    if settings.nesterov and settings.momentum == 0:
        raise RecipeError(
            "optimiser.nesterov = true, but optimiser.momentum = 0; Nesterov's variant looks ahead "
            "along the momentum: set one, such as 0.9"
        )
    return torch.optim.SGD(
        groups(head), momentum=settings.momentum, nesterov=settings.nesterov, **shared
    )


def groups(head: Head) -> list[dict[str, Any]]:
    """Parameters by their factor on the learning rate.

    Raises
    ------
    ValueError
        If the head gives a rate to a parameter that it does not have.
    """
    rates = head.rates()
    by_factor: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in head.named_parameters():
        by_factor[rates.pop(name, 1.0)].append(parameter)
    if rates:
        raise ValueError(f"{type(head).__name__}.rates() names no parameter: {', '.join(rates)}")
    return [{"params": own, "factor": factor} for factor, own in by_factor.items()]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
