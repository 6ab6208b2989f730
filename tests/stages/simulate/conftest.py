"""Faces to warp (a drawn one, and the real portraits) and drives that hold still."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from stages.simulate.drives import Drives
from stages.simulate.portraits import PEOPLE, portraits
from stages.simulate.warp import Portrait

SIDE, UNIT = 120, 20.0


@pytest.fixture
def face() -> Portrait:
    """Smooth stripes under five landmarks: everything that moves changes the picture."""
    steps = torch.arange(SIDE, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    image = 127 + 90 * torch.stack([torch.sin(x / 5), torch.sin(y / 4), torch.sin((x + y) / 6)])
    middle = (SIDE - 1) / 2
    offsets = torch.tensor([[-0.5, -0.55], [0.5, -0.55], [0, 0], [-0.4, 0.55], [0.4, 0.55]])
    return Portrait(image, middle + UNIT * offsets, UNIT)


@pytest.fixture
def still() -> Callable[..., Drives]:
    """Drives that hold one expression, with the head at rest in plain light."""
    return _still


def _still(
    frames: int = 1,
    valence: float = 0.0,
    arousal: float = 0.0,
    opening: float = 0.0,
    blink: float = 0.0,
    **others: Any,
) -> Drives:
    column, pair = np.zeros(frames), np.zeros((frames, 2))
    shown = pair + np.array([valence, arousal])
    drives = Drives(
        labels=pair,
        truth=pair,
        shown=shown,
        opening=column + opening,
        blink=column + blink,
        shift=pair,
        roll=column,
        zoom=column + 1,
        gain=column + 1,
        gradient=pair,
        covered=column > 0,
        blur=0.0,
    )
    return drives._replace(**others)


@pytest.fixture(scope="session")
def people() -> list[Portrait]:
    """The real portraits, found in the fetched assets, for videos of 192 pixels."""
    return portraits(PEOPLE, 192)
