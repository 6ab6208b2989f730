"""From a portrait and its drives to what a camera would have recorded.

In the order of nature: the expression, the head's motion, what comes in front of the face, the
light, the lens, the sensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.simulate.drives import Drives
from stages.simulate.warp import Portrait, expression_map, fields, head, sample, weights

COVER_RADII = (1.25, 1.6)
BATCH = 5  # frames; larger batches spend their time on fresh memory


def film(
    portrait: Portrait, drives: Drives, size: int, noise_sd: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The clip's frames in batches (n, size, size, 3) uint8 RGB.

    Parameters
    ----------
    portrait : whose picture is larger than `size`, so that the head can move
    drives : one row per frame
    noise_sd : sensor noise in grey levels of 255, independent per pixel and channel
    rng : draws the cover's colour and the noise; the same state gives the same pixels
    """
    colour = torch.from_numpy(rng.uniform(30, 150, 3)).float()
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    basis = fields(portrait)
    where = head(drives, size, portrait.image.shape[-1], portrait.unit)
    strength = torch.from_numpy(weights(drives)).float()
    shift, gain, gradient = (
        torch.from_numpy(rows).float() for rows in (drives.shift, drives.gain, drives.gradient)
    )
    covered = torch.from_numpy(drives.covered)
    for start in range(0, len(strength), BATCH):
        now = slice(start, start + BATCH)
        displacement = torch.tensordot(strength[now], basis, dims=1)
        at = expression_map(displacement, where[now], portrait.unit)
        pictures = sample(portrait.image.expand(len(at), -1, -1, -1), at)
        hidden = covered[now]
        pictures[hidden] = cover(pictures[hidden], shift[now][hidden], portrait.unit, colour)
        pictures = blur(light(pictures, gain[now], gradient[now]), drives.blur)
        pictures += noise_sd * torch.randn(pictures.shape, generator=noise)
        yield pictures.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def light(pictures: Tensor, gain: Tensor, gradient: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) times gain (n,) times 1 + gradient (n, 2) along x and y in [-1, 1]."""
    steps = torch.linspace(-1, 1, pictures.shape[-1])
    slope = gradient[:, 0, None, None] * steps + gradient[:, 1, None, None] * steps[:, None]
    return pictures * (gain[:, None, None] * (1 + slope))[:, None]


def cover(pictures: Tensor, middle: Tensor, unit: float, colour: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) with a soft-edged ellipse of a colour (3,) over the face.

    `middle` (n, 2) is the face's distance from the middle of the picture in units of D.
    """
    steps = (torch.arange(pictures.shape[-1]) - (pictures.shape[-1] - 1) / 2) / unit
    across = (steps - middle[:, 0, None, None]) / COVER_RADII[0]
    down = (steps[:, None] - middle[:, 1, None, None]) / COVER_RADII[1]
    inside = torch.sigmoid((1 - torch.sqrt(across**2 + down**2)) * 20)[:, None]
    return pictures * (1 - inside) + colour[:, None, None] * inside


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures (n, 3, h, w) through a Gaussian of `sigma` pixels, edges repeated."""
    if sigma < 0.2:
        return pictures
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = F.pad(pictures, (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel, groups=pictures.shape[1])
    return F.conv2d(across, kernel.transpose(2, 3), groups=pictures.shape[1])
