"""An exponential moving average of the weights: less noise than any single iteration's.

mean <- d mean + (1 - d) weight, where d grows as (1 + k) / (10 + k) with the iteration k up to the
recipe's decay, so that the first iterations do not hang on the random initial weights (the rule of
TensorFlow's ExponentialMovingAverage). Only parameters are averaged; buffers are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average weights of a model; with decay 0, which is off, the weights themselves.

    Attributes
    ----------
    mean : name -> average of that parameter; empty where the average is off
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        named = dict(model.named_parameters()) if decay else {}
        self._live = [parameter.detach() for parameter in named.values()]
        self.mean = {name: parameter.detach().clone() for name, parameter in named.items()}

    def update(self, k: int) -> None:
        """Take in the weights after iteration k."""
        if self.mean:
            decay = min(self.decay, (1 + k) / (10 + k))
            torch._foreach_lerp_(list(self.mean.values()), self._live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While entered, the model has the average weights; afterwards its own, to the bit."""
        own = [parameter.clone() for parameter in self._live]
        self._put(list(self.mean.values()))
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._live, values, strict=True):
            parameter.copy_(value)
