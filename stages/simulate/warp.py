"""A portrait that moves: a smooth displacement carries the expression, one resampling draws it.

The picture at u is the portrait's at u - d(u), where d is a sum of Gaussian bumps about the eyes
and the mouth, weighted by what the face shows. The bumps are wide and low enough that the map never
folds (its Jacobian stays positive for every drive in range), so nothing tears.

Convention: pixel centres have whole coordinates, x before y, y down; lengths in units of D (see
`drives`); displacements point to where a feature moves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.simulate.drives import Drives


class Portrait(NamedTuple):
    """An aligned face: upright, the middle between eyes and mouth in the middle of the picture.

    Attributes
    ----------
    image (3, side, side) : float32 RGB in [0, 255]
    landmarks (5, 2) : left eye, right eye, nose, left and right mouth corner (as seen), pixels
    unit : D in pixels
    """

    image: Tensor
    landmarks: Tensor
    unit: float


def weights(drives: Drives) -> np.ndarray:
    """How strongly each field of `fields` acts, (frame, field), from what the face shows."""
    valence, arousal = drives.shown.T
    return np.stack(
        [
            valence,
            np.maximum(valence, 0),
            np.maximum(-valence, 0),
            drives.opening,
            arousal,
            drives.blink,
        ],
        axis=1,
    )


def fields(portrait: Portrait) -> Tensor:
    """The displacement that a weight of 1 causes, (field, 2, side, side) in units of D.

    In the order of `weights`: smile, cheeks of a smile, knit brows, open mouth, raised brows and
    wide eyes, shut eyes.
    """
    at = portrait.landmarks / portrait.unit
    eyes, mouth = (at[0], at[1]), (at[3], at[4])
    middle = (at[3] + at[4]) / 2
    steps = torch.arange(portrait.image.shape[-1]) / portrait.unit
    y, x = torch.meshgrid(steps, steps, indexing="ij")

    def bump(centre: Tensor, offset: tuple[float, float], width: tuple[float, float]) -> Tensor:
        across = (x - centre[0] - offset[0]) / width[0]
        down = (y - centre[1] - offset[1]) / width[1]
        return torch.exp(-0.5 * (across**2 + down**2))

    def push(amount: tuple[float, float], where: Tensor) -> Tensor:
        return torch.stack([amount[0] * where, amount[1] * where])

    sides = (-1.0, 1.0)
    smile = push((0, 0.05), bump(middle, (0, 0.05), (0.22, 0.22)))
    cheeks, knit, raised, shut = (torch.zeros(2, *x.shape) for _ in range(4))
    for side, eye, corner in zip(sides, eyes, mouth, strict=True):
        smile += push((side * 0.09, -0.17), bump(corner, (0, 0), (0.24, 0.24)))
        cheeks += push((0, -0.05), bump(corner, (side * 0.12, -0.42), (0.22, 0.22)))
        knit += push((-side * 0.05, 0.10), bump(eye, (-side * 0.22, -0.36), (0.16, 0.16)))
        lid = bump(eye, (0, 0), (0.26, 0.14)) * (y - eye[1])
        raised += push((0, -0.11), bump(eye, (0, -0.42), (0.30, 0.20))) + push((0, 0.45), lid)
        shut += push((0, -0.8), lid)
    jaw = push((0, 0.20), bump(middle, (0, 0.36), (0.42, 0.24)))
    lip = push((0, -0.04), bump(middle, (0, -0.14), (0.28, 0.12)))
    return torch.stack([smile, cheeks, knit, jaw + lip, raised, shut])


def head(drives: Drives, size: int, side: int, unit: float) -> Tensor:
    """Where each pixel of the picture lies on the portrait, (frame, size, size, 2) in its pixels.

    The head shifts by `shift`, turns clockwise by `roll` and grows by `zoom` about its middle.
    """
    roll = torch.from_numpy(drives.roll).float()
    zoom = torch.from_numpy(drives.zoom).float()
    shift = torch.from_numpy(drives.shift).float() * unit
    steps = torch.arange(size) - (size - 1) / 2
    across = steps[None, None, :] - shift[:, 0, None, None]
    down = steps[None, :, None] - shift[:, 1, None, None]
    cos = (torch.cos(roll) / zoom)[:, None, None]
    sin = (torch.sin(roll) / zoom)[:, None, None]
    turned = torch.stack([cos * across + sin * down, cos * down - sin * across], dim=-1)
    return turned + (side - 1) / 2


def sample(image: Tensor, where: Tensor) -> Tensor:
    """Bilinear values of image (n, c, height, width) at pixels (n, h, w, 2), edges repeated."""
    grid = (2 * where + 1) / torch.tensor([image.shape[3], image.shape[2]]) - 1
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def expression_map(displacement: Tensor, where: Tensor, unit: float) -> Tensor:
    """Which pixels (n, h, w, 2) a displacement (n, 2, side, side) brings to those of `where`."""
    return where - unit * sample(displacement, where).permute(0, 2, 3, 1)
