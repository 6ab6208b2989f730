"""Loss and gradient of one batch, computed eagerly, compiled, or as a CUDA graph.

Gradients are left in the parameters' `grad`; what comes back are the loss's terms. Precision and
execution end here: weights, gradients, clipping and the optimiser's step are float32 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from affcache.errors import RecipeError
from stages.train.heads import Head, Windows
from stages.train.recipe import Training
from stages.train.training.graphs import Graphs

Terms = dict[str, Tensor]
Descent = Callable[[Windows, torch.Generator], Terms]


def descent(head: Head, settings: Training, device: torch.device) -> Descent:
    """What computes a batch's gradients, as a recipe's [training] table wants it.

    Raises
    ------
    RecipeError
        If the device cannot do it.
    """
    if settings.execution == "graph" and device.type != "cuda":
        raise RecipeError(
            f"training.execution = 'graph' needs an NVIDIA device, this is {device.type}; "
            "choose eager"
        )
    loss = torch.compile(head.loss, dynamic=True) if settings.execution == "compile" else head.loss
    parameters = list(head.parameters())

    def compute(windows: Windows, generator: torch.Generator) -> Terms:
        for parameter in parameters:
            parameter.grad = None
        with precision(settings.precision, device):
            terms = loss(windows, generator)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        return {name: value.detach().float() for name, value in terms.items()}

    return Graphs(compute, parameters) if settings.execution == "graph" else compute


def precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Where products are computed in bfloat16; its cache of cast weights would outlive a graph."""
    if name == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
