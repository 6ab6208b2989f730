"""Face rectangles cut out of frames and brought to a square: subpixel and anti-aliased.

Each output pixel is the mean of bilinear samples spread evenly over its part of the rectangle (RoI
align, He et al. 2017, section 3), so a large face is averaged and not picked at. The rectangle is
stretched to the square; beyond the frame's edge its last pixels go on.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import roi_align

MARGIN = 0.05


def crop(frame: Tensor, box: Tensor, size: int, margin: float = MARGIN) -> Tensor:
    """One face.

    Parameters
    ----------
    frame : (height, width, 3) uint8
    box : (4,) float32 on the CPU, x0, y0, x1, y1 in pixels; pixel i covers [i, i + 1)
    size : side of the square, pixels
    margin : fraction of the box's sides that is added on each side

    Returns
    -------
    (3, size, size) float32 in [0, 255], on the frame's device.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    wide, high = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    x0, x1 = x0 - margin * wide, x0 + (1 + margin) * wide
    y0, y1 = y0 - margin * high, y0 + (1 + margin) * high
    part, left, top = _part(frame, x0, y0, x1, y1)
    region = torch.tensor(
        [[0.0, x0 - left, y0 - top, x1 - left, y1 - top]], dtype=torch.float32, device=frame.device
    )
    pixels = part.permute(2, 0, 1)[None].float().contiguous()
    # sampling_ratio = 0: as many samples per output pixel as the rectangle has source pixels.
    aligned: Tensor = roi_align(pixels, region, size, sampling_ratio=0, aligned=True)
    return aligned[0]


def _part(frame: Tensor, x0: float, y0: float, x1: float, y1: float) -> tuple[Tensor, int, int]:
    """The pixels that a rectangle touches, with one around it, and where they begin."""
    left, top = math.floor(x0) - 1, math.floor(y0) - 1
    right, bottom = math.floor(x1) + 2, math.floor(y1) + 2
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return frame[top:bottom, left:right], left, top
    rows = torch.arange(top, bottom, device=frame.device).clamp(0, height - 1)
    columns = torch.arange(left, right, device=frame.device).clamp(0, width - 1)
    return frame[rows][:, columns], left, top


def crops(frames: Tensor, boxes: Tensor, rows: list[int], size: int) -> Tensor:
    """Faces (k, 3, size, size) float32 in [0, 255]: `boxes[j]` out of `frames[rows[j]]`."""
    return torch.stack([crop(frames[row], box, size) for row, box in zip(rows, boxes, strict=True)])


def identity() -> dict[str, Any]:
    """What decides a crop, for a cache's fingerprint."""
    return {"name": "box, roi_align", "margin": MARGIN}
