"""Faces in batches of frames: the MTCNN cascade of Zhang et al. (2016), facenet-pytorch's weights.

Detection runs on frames shrunk to a long side of 320 pixels; boxes and landmarks come back in
pixels of the source.

Convention: boxes are x0, y0, x1, y1 with the origin at the top left corner; landmarks are left eye,
right eye, nose, left and right mouth corner as seen in the image.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from facenet_pytorch import MTCNN
from torch import Tensor
from torch.nn import functional as F

LONG_SIDE = 320
MIN_FACE = 20
THRESHOLDS = (0.6, 0.7, 0.7)
FACTOR = 0.709
CPU_FRAMES = 16
GPU_FRAMES = 128


class Faces(NamedTuple):
    """What was found in one frame, largest first.

    box : (k, 4) float32 pixels; score : (k,) float32 in [0, 1]; landmarks : (k, 5, 2) float32.
    """

    box: np.ndarray
    score: np.ndarray
    landmarks: np.ndarray


NO_FACES = Faces(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
)


class Detector:
    """MTCNN on a device.

    Parameters
    ----------
    device : where the networks run
    long_side : frames are shrunk to it (never enlarged); it decides the smallest face
    """

    def __init__(self, device: torch.device | str = "cpu", long_side: int = LONG_SIDE) -> None:
        self.device, self.long_side = torch.device(device), long_side
        # Filters in channels-last memory and pixels in planes: the pyramid and the networks each
        # get the layout that is fastest for them (measured: 1.7 times on a CPU, boxes within
        # 1e-4 pixels).
        self._mtcnn = MTCNN(
            min_face_size=MIN_FACE,
            thresholds=list(THRESHOLDS),
            factor=FACTOR,
            device=self.device,
        ).to(memory_format=torch.channels_last)
        # On a CPU, more frames at once only push each other out of its cache.
        self._at_once = CPU_FRAMES if self.device.type == "cpu" else GPU_FRAMES

    def detect(self, frames: np.ndarray | Tensor) -> list[Faces]:
        """Find the faces of every frame.

        Parameters
        ----------
        frames : (n, height, width, 3) uint8 RGB; n may be 0

        Returns
        -------
        One `Faces` per frame; with no rows where there is no face, or the frame is too small.
        """
        images = torch.as_tensor(frames, device=self.device)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
            found = f"{tuple(frames.shape)} {frames.dtype}"
            raise ValueError(f"frames are {found}, expected (n, height, width, 3) uint8")
        height, width = images.shape[1:3]
        small = shrink(images, self.long_side)
        if len(small) == 0 or min(small.shape[1:3]) < MIN_FACE:
            return [NO_FACES] * len(images)
        scale = np.array([width / small.shape[2], height / small.shape[1]], np.float32)
        planes = small.permute(0, 3, 1, 2).float().contiguous().permute(0, 2, 3, 1)
        parts = [planes[i : i + self._at_once] for i in range(0, len(planes), self._at_once)]
        return [faces for part in parts for faces in self._run(part, scale)]

    def _run(self, small: Tensor, scale: np.ndarray) -> list[Faces]:
        boxes, scores, points = self._mtcnn.detect(small, landmarks=True)
        return [
            _faces(box, score, point, scale)
            for box, score, point in zip(boxes, scores, points, strict=True)
        ]


def _faces(box: Any, score: Any, points: Any, scale: np.ndarray) -> Faces:
    if box is None:
        return NO_FACES
    return Faces(
        np.asarray(box, np.float32).reshape(-1, 4) * np.tile(scale, 2),
        np.asarray(score, np.float32),
        np.asarray(points, np.float32).reshape(-1, 5, 2) * scale,
    )


def shrink(images: Tensor, long_side: int) -> Tensor:
    """Frames (n, h, w, 3) uint8 whose long side is at most `long_side`, anti-aliased."""
    height, width = images.shape[1:3]
    ratio = long_side / max(height, width)
    if ratio >= 1 or len(images) == 0:
        return images
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    pixels = images.permute(0, 3, 1, 2)
    if images.device.type != "cpu":
        pixels = pixels.float()
    small = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    if small.dtype != torch.uint8:
        small = small.round().clamp(0, 255).to(torch.uint8)
    return small.permute(0, 2, 3, 1)


def identity() -> dict[str, Any]:
    """What decides the detections, for a cache's fingerprint."""
    return {
        "name": "facenet-pytorch MTCNN",
        "version": importlib.metadata.version("facenet-pytorch"),
        "long_side": LONG_SIDE,
        "min_face": MIN_FACE,
        "thresholds": list(THRESHOLDS),
        "factor": FACTOR,
        "weights": _weights_sha256(),
    }


def _weights_sha256() -> str:
    spec = importlib.util.find_spec("facenet_pytorch")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    digest = hashlib.sha256()
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
