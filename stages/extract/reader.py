"""Frames of a video file in presentation order: all that this project asks of a video library.

decord 0.6.0 is not maintained, and repeats the last good frame where it should fail. Here a repeat
is an error, and what an edit list hides (decord counts it, no decoder shows it) is not a frame.
Where decord makes times up (of MPEG program streams, of AVI files with B-frames), another decoder's
are taken; where the container holds none, frames are evenly spaced.
"""

from __future__ import annotations

import contextlib
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
# What decord and FFmpeg put before their messages: time, source line, address of the codec, file.
_PREFIX = re.compile(r"^(\[[^\]]*\]\s*|\S+\.cc:\d+: |(Error|Check failed): )*")


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
        fps = float(self._video.get_avg_fps())
        spans = self._video.get_frame_timestamp(range(len(self._video)))
        self._time = spans[:, 0].astype(np.float64)
        if not _are_times(self._time):
            shown = _shown_times(path)
            self._time = shown if _are_times(shown) else np.arange(len(shown)) / fps
        height, width, _ = self._video[0].shape
        self.clip = Clip(frames=len(self._time), height=height, width=width, fps=fps)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames and times of [start, stop), fewer where an edit list hides the video's end."""
        stop = min(stop, self.clip.frames)
        try:
            frames = self._video.get_batch(range(start, stop)).asnumpy()
        except DECORDLimitReachedError:
            shown = len(_shown_times(self._path))
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


def _are_times(time: np.ndarray) -> bool:
    """Whether these can be times from the video's beginning: nothing before it, nothing back."""
    return bool((time >= 0).all() and (np.diff(time) >= 0).all())


def _shown_times(path: str) -> np.ndarray:
    """Times of the frames that another decoder shows, from the first; it honours edit lists."""
    with av.open(path) as container:
        time = [frame.time for frame in container.decode(video=0)]
    return np.array(time, float) - (time[0] if time and time[0] is not None else 0.0)


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
    if not path.is_file():
        raise ValueError("is a pipe or a device, not a video file")
    if not os.access(path, os.R_OK):
        raise ValueError("cannot be read (permission denied)")
    if path.stat().st_size == 0:
        raise ValueError("is empty (0 bytes)")


def explain(path: str, error: Exception, log: str) -> str:
    """One clear line from a decoder's exception and what its C code wrote on stderr."""
    if "cannot find video stream" in str(error):
        return _unread_stream(path)
    if isinstance(error, DECORDLimitReachedError):
        return "has frames that cannot be decoded (decord repeats neighbours in their place)"
    if not isinstance(error, RuntimeError | DECORDError | av.FFmpegError):
        found = str(error) if isinstance(error, ValueError) else ""
        return found or f"cannot be decoded ({type(error).__name__}: {error})"
    lines = [
        _PREFIX.sub("", line.strip()) for line in [*log.splitlines(), *str(error).splitlines()]
    ]
    detail = next((line for line in lines if line and "ERROR opening" not in line), "")
    advice = "if it plays elsewhere, rewrite it as H.264 in .mp4"
    return f"is truncated, damaged or no video ({detail.rstrip('.')}); {advice}"


def _unread_stream(path: str) -> str:
    """Why decord sees no video: there is none, or of a codec that it does not know."""
    with contextlib.suppress(av.FFmpegError), av.open(path) as container:
        for stream in container.streams.video:
            known = stream.codec_context
            codec = known.codec.canonical_name if known else "something unknown"
            return f"is coded as {codec}, which decord cannot read; rewrite it as H.264 in .mp4"
    return "holds no video stream (is it audio only?)"
