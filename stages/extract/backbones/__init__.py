"""Frozen networks that turn a face into a feature vector and, where they can, pseudo-labels.

One table: name -> "module:Class". A backbone is loaded on a device and called with faces.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from affcache.errors import RecipeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BACKBONES: dict[str, str] = {
    "mini-xception": "stages.extract.backbones.mini_xception:MiniXception",
    "facenet": "stages.extract.backbones.facenet:FaceNet",
}


class Backbone(Protocol):
    """A frozen network.

    Attributes
    ----------
    size : side in pixels of the square faces it takes
    arrays : what it gives per face: the array's name in the cache -> shape of a row
    """

    size: ClassVar[int]
    arrays: ClassVar[Mapping[str, tuple[int, ...]]]

    @classmethod
    def weights_file(cls) -> Path:
        """The published weights, fetched if they are absent."""

    def __init__(self, weights: Path, device: torch.device) -> None: ...

    def __call__(self, faces: Tensor) -> Mapping[str, Tensor]:
        """Faces (k, 3, size, size) float32 RGB in [0, 255] to arrays of k rows each."""


def backbone_class(name: str) -> type[Backbone]:
    """The class behind a name of the table."""
    if name not in BACKBONES:
        raise RecipeError(f"no backbone is called {name!r}; known: {', '.join(BACKBONES)}")
    module, attribute = BACKBONES[name].split(":")
    found: type[Backbone] = getattr(importlib.import_module(module), attribute)
    return found
