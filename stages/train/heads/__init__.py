"""What a head is: windows in, a loss to minimise or a prediction per frame out.

The trainer, the evaluation and the drawings know heads only through `Head`. A new head is a module
with one class and one row in `HEADS`.

Convention: (B, L, ...) is batch, frame; a frame's row is used only where `mask` is true, and
what lies in the other rows (zeros, NaN) must have no influence on anything.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from affcache.errors import RecipeError
from stages.train.suggest import known

HEADS: dict[str, str] = {
    "ap": "stages.train.heads.ap:AffectiveProcess",
}


class Windows(NamedTuple):
    """A batch of windows on the head's device.

    Attributes
    ----------
    features : (B, L, D) float32, zero in frames without a face
    pseudo : (B, L, k) float32, the classifier's opinion; NaN in frames without a face
    labels : (B, L, k) float32, NaN where there is no annotation; never read by `Head.predict`
    mask : (B, L) bool, the frames that count: with a face and a label in training, with a face in
        testing
    """

    features: Tensor
    pseudo: Tensor
    labels: Tensor
    mask: Tensor


class Prediction(NamedTuple):
    """What a head says per frame: mean (B, L, k) and, where it has one, standard deviation.

    Both are NaN in frames about which the head says nothing.
    """

    mean: Tensor
    std: Tensor | None


class Sizes(NamedTuple):
    """What the data decides about a head: width of the features, number of targets."""

    features: int
    targets: int


class Head(nn.Module, ABC):
    """Base of every head.

    Subclasses name a frozen dataclass `Settings` (the `[model]` table of their recipes) and are
    made with `Head(sizes, settings)`.
    """

    Settings: ClassVar[type]

    @abstractmethod
    def __init__(self, sizes: Sizes, settings: Any) -> None: ...

    @abstractmethod
    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars of one training batch: "loss" is minimised, the others are recorded.

        Everything random is drawn from `generator`, which is the default one of the device: layers
        that draw by themselves (dropout) follow it too.
        """

    @abstractmethod
    def predict(self, windows: Windows) -> Prediction:
        """Per-frame prediction without labels, deterministic."""


def head_class(name: str) -> type[Head]:
    """Import the class behind a head's name.

    Raises
    ------
    RecipeError
        If there is no such head; the message lists those there are.
    """
    if name not in HEADS:
        raise RecipeError(f"no head {name!r}; {known('head', name, HEADS)}")
    module, attribute = HEADS[name].split(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, type)
    assert issubclass(found, Head)
    return found
