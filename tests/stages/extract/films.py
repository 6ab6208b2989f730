"""Small real video files, encoded on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def film(path: Path, frames: int, *, height: int = 48, width: int = 64, seed: int = 0) -> Path:
    """A video of slowly moving colour, without a face; 25 frames a second."""
    draw = np.random.default_rng(seed)
    slope = draw.uniform(0.5, 2, 3)
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            pixels = (np.multiply.outer(x + y + 2 * i, slope) % 256).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sound(path: Path) -> Path:
    """A file with an audio stream and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for i in range(10):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 16000, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times(path: Path) -> np.ndarray:
    """Presentation times of the frames that another decoder shows."""
    with av.open(str(path)) as container:
        return np.array([frame.time for frame in container.decode(video=0)])
