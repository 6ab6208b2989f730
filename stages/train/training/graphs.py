"""CUDA graphs: all kernels of a loss and its gradient in one launch, one graph per window length.

Follows "Whole-network capture" of torch's notes on CUDA graphs: warm up on a side stream, capture
with the gradients unset, so that they lie in the graph's own memory, then copy each batch to where
the graph reads and replay. The optimiser's step stays outside, so warming up changes no weight.
Draws come from the device's default generator, whose seed a replay reads anew.

Written after torch's documentation and not yet run: the test that holds it against the eager
gradients, and the benchmark that times it, need an NVIDIA device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from affcache.errors import RecipeError
from stages.train.heads import Windows

WARM_UP = 3  # as in torch's notes: libraries set themselves up in the first calls
Compute = Callable[[Windows, torch.Generator], dict[str, Tensor]]


class Captured(NamedTuple):
    """A graph, where it reads its batch, and where it leaves gradients and terms."""

    graph: torch.cuda.CUDAGraph
    windows: Windows
    gradients: list[Tensor | None]
    terms: dict[str, Tensor]


class Graphs:
    """A `Descent` that replays; its terms are valid until the next call.

    Parameters
    ----------
    compute : loss and gradient, without anything that waits for the device
    parameters : whose gradients they are
    """

    def __init__(self, compute: Compute, parameters: Sequence[Tensor]) -> None:
        self.compute, self.parameters = compute, parameters
        self.graphs: dict[int, Captured] = {}

    def __call__(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        length = windows.mask.shape[1]
        if length not in self.graphs:
            seed = generator.initial_seed()
            self.graphs[length] = self._capture(windows, generator)
            generator.manual_seed(seed)
        own = self.graphs[length]
        for place, given in zip(own.windows, windows, strict=True):
            place.copy_(given)
        own.graph.replay()
        for parameter, gradient in zip(self.parameters, own.gradients, strict=True):
            parameter.grad = gradient
        return own.terms

    def _capture(self, windows: Windows, generator: torch.Generator) -> Captured:
        static = Windows(*(tensor.clone() for tensor in windows))
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.compute(static, generator)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                terms = self.compute(static, generator)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RecipeError(
                f"training.execution = 'graph': this head's loss cannot be captured ({reason}); "
                "choose eager"
            ) from error
        return Captured(graph, static, [p.grad for p in self.parameters], terms)
