"""Frames of a video file in presentation order: all that this project asks of a video library.

decord 0.6.0 is not maintained, and repeats the last good frame where it should fail. Here a repeat
is an error, and what an edit list hides (decord counts it, no decoder shows it) is not a frame.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import decord
import numpy as np
from decord._ffi.base import DECORDError, DECORDLimitReachedError

# A fraction of the video's frames: below one frame for any length, so that no repeat passes.
FAULT_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What is known of a video when it is opened: frames, size in pixels, mean frames a second."""

    frames: int
    height: int
    width: int
    fps: float

    @property
    def frame_bytes(self) -> int:
        """Bytes of one RGB frame."""
        return 3 * self.height * self.width


class Reader(Protocol):
    """An opened video.

    `read(start, stop)` gives frames (n, height, width, 3) uint8 RGB and their presentation times
    (n,) float64 in seconds, n <= stop - start; fewer only where the video ends.
    """

    clip: Clip

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]: ...


class DecordReader:
    """decord behind the `Reader` interface; rotation that the container asks for is applied."""

    def __init__(self, path: str) -> None:
        decord.logging.set_level(decord.logging.ERROR)
        self._path = path
        self._open()
        total = len(self._video)
        self._time = self._video.get_frame_timestamp(range(total))[:, 0].astype(np.float64)
        hidden = int((self._time < 0).sum())
        shown = _count_frames(path) if hidden else total
        if shown == total - hidden:
            self._time = self._time[hidden:]
        height, width, _ = self._video[0].shape
        self.clip = Clip(
            frames=shown, height=height, width=width, fps=float(self._video.get_avg_fps())
        )

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames and times of [start, stop), fewer where an edit list hides the video's end."""
        stop = min(stop, self.clip.frames)
        try:
            frames = self._video.get_batch(range(start, stop)).asnumpy()
        except DECORDLimitReachedError:
            shown = _count_frames(self._path)
            if not start <= shown < self.clip.frames:
                raise
            self.clip = Clip(
                frames=shown, height=self.clip.height, width=self.clip.width, fps=self.clip.fps
            )
            self._open()
            return self.read(start, stop)
        return frames, self._time[start:stop]

    def _open(self) -> None:
        self._video = decord.VideoReader(self._path, num_threads=1, fault_tol=FAULT_TOLERANCE)


def _count_frames(path: str) -> int:
    """How many frames another decoder shows, which honours edit lists."""
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def check_file(path: Path) -> None:
    """Refuse what no decoder needs to look at: nothing there, a folder, an empty file.

    Raises
    ------
    ValueError
        With the reason.
    """
    if path.is_dir():
        raise ValueError("is a folder, not a video")
    if not path.exists():
        raise ValueError("does not exist")
    if not os.access(path, os.R_OK):
        raise ValueError("cannot be read (permission denied)")
    if path.stat().st_size == 0:
        raise ValueError("is empty (0 bytes)")


def explain(error: Exception, log: str) -> str:
    """One clear line from a decoder's exception and what its C code wrote on stderr."""
    if "cannot find video stream" in str(error):
        return "holds no video stream (is it audio only?)"
    if isinstance(error, DECORDLimitReachedError):
        return "has frames that cannot be decoded (decord repeats neighbours in their place)"
    if isinstance(error, ValueError):
        return str(error)
    lines = [re.sub(r"^\[[^\]]*\]\s*", "", line.strip()) for line in log.splitlines()]
    detail = next((line for line in lines if line and "ERROR opening" not in line), "")
    if isinstance(error, RuntimeError | DECORDError | av.FFmpegError):
        detail = detail or re.sub(r"^.*?(Error|Check failed): ", "", str(error).splitlines()[0])
        return f"is truncated, damaged or no video ({detail})"
    return f"cannot be decoded ({type(error).__name__}: {error})"
