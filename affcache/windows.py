"""Windows of cached sequences: random ones to train on, consecutive ones to test on.

Paper 000, section 4.2: training draws sequences of 35 to 70 frames, 16 to a batch; testing uses
windows of 70. A window is a slice of a memory map: nothing is opened, decoded or copied but the
rows themselves. Batch k depends on (seed, k) and the sequences alone, so workers, their number and
how they were started change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Sized
from typing import Any, NamedTuple

import numpy as np

from affcache.errors import CacheError
from affcache.sequences import (
    Sequence,
    check_widths,
    default_pseudo,
    load_all,
    load_split,
)

__all__ = [
    "Batch",
    "Picks",
    "RandomWindows",
    "Sequence",
    "Span",
    "consecutive",
    "default_pseudo",
    "empty_windows",
    "load_all",
    "load_split",
    "side_by_side",
]

ALIGNMENT = 64  # bytes
FEWEST = 3  # counted frames in a window (or all of a shorter one): smallest context of paper 000


class Batch(NamedTuple):
    """B windows of L frames.

    features (B, L, D) float16, a sequence's streams side by side; pseudo and labels (B, L, K)
    float32, NaN where there is none; mask (B, L) bool, True for frames with a face and a label.
    """

    features: np.ndarray
    pseudo: np.ndarray
    labels: np.ndarray
    mask: np.ndarray


class Picks(NamedTuple):
    """The windows of a batch: frames [start, start + length) of a video, by its place in the list.

    length : L; videos, starts : one for each of the B windows
    """

    length: int
    videos: list[int]
    starts: list[int]


class Span(NamedTuple):
    """Frames [start, stop) of a sequence, of which [keep, stop) are in no earlier window."""

    start: int
    stop: int
    keep: int


def consecutive(frames: int, length: int = 70) -> list[Span]:
    """Windows that cover every frame once, each of full length where the sequence allows it.

    The last window is shifted back to full length; a sequence that is shorter than a window is one
    short window.

    >>> consecutive(150, 70)
    [Span(start=0, stop=70, keep=0), Span(start=70, stop=140, keep=70), Span(start=80, stop=150, \
keep=140)]
    """
    if frames < 0 or length < 1:
        raise ValueError(f"{frames} frames in windows of {length}: neither can be less")
    starts = range(0, frames, length)
    last = max(frames - length, 0)
    return [Span(min(s, last), min(s + length, frames), s) for s in starts]


class RandomWindows:
    """Training batches: batch k is a pure function of (seed, k).

    One length L per batch, uniform over [shortest, longest]; then videos, uniform over those that
    can give such a window (each once, if there are enough for the batch); then a start in each,
    uniform over the starts whose window has at least three counted frames (or as many as the
    shortest window has). So a video that is shorter than L is passed over in that batch, and one
    that is shorter than `shortest` or has no three counted frames within `longest` is never drawn
    (`unused` names it). Lengths that no video can give are not drawn.

    Parameters
    ----------
    sequences : what to draw from
    shortest, longest : lengths in frames, both included
    batch : windows in a batch, B
    seed : any integer from 0 to 2**64 - 1

    Raises
    ------
    CacheError
        If there is not a single window to draw, or the features differ in width.
    """

    def __init__(
        self,
        sequences: Sized[Sequence],
        *,
        shortest: int = 35,
        longest: int = 70,
        batch: int = 16,
        seed: int = 0,
    ) -> None:
        if not 1 <= shortest <= longest or batch < 1 or not 0 <= seed < 2**64:
            raise ValueError(f"windows of {shortest} to {longest}, batch {batch}, seed {seed}")
        check_widths(sequences, "training windows")
        self.sequences = list(sequences)
        self.shortest, self.longest, self.size, self.seed = shortest, longest, batch, seed
        self._prepare()

    @property
    def unused(self) -> list[str]:
        """Ids of the videos that are never drawn."""
        never = np.maximum(self._least, self.shortest) > np.minimum(self._frames, self.longest)
        return [s.id for s, no in zip(self.sequences, never, strict=True) if no]

    @property
    def widths(self) -> tuple[int, int]:
        """Columns of the features (all streams together) and of the labels: D and K."""
        first = self.sequences[0]
        return sum(stream.shape[1] for stream in first.streams), first.labels.shape[1]

    def picks(self, k: int) -> Picks:
        """Which windows batch k >= 0 consists of."""
        draw = _stream(self.seed, k)
        length = int(self._lengths[draw.integers(len(self._lengths))])
        able = np.flatnonzero((self._least <= length) & (self._frames >= length))
        videos = able[_choose(draw, len(able), self.size)]
        return Picks(length, videos.tolist(), self._starts(draw, videos, length))

    def batch(self, k: int) -> Batch:
        """Batch number k >= 0, the same whenever and wherever it is asked for."""
        picks = self.picks(k)
        (wide, targets), shape = self.widths, (self.size, picks.length)
        batch = Batch(
            empty_windows((*shape, wide)),
            np.empty((*shape, targets), np.float32),
            np.empty((*shape, targets), np.float32),
            np.empty(shape, bool),
        )
        features, pseudo, labels, mask = batch
        for row, (video, start) in enumerate(zip(picks.videos, picks.starts, strict=True)):
            own, window = self.sequences[video], slice(start, start + picks.length)
            side_by_side(own.streams, window, features[row])
            pseudo[row] = own.pseudo[window]
            labels[row] = own.labels[window]
            mask[row] = own.counted[window]
        return batch

    def __getstate__(self) -> dict[str, Any]:
        """What cannot be computed again; sequences are pickled as their paths."""
        return {n: v for n, v in vars(self).items() if not n.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def _prepare(self) -> None:
        """Tables per video: running count of counted frames, shortest window that has enough."""
        self._fewest = min(FEWEST, self.shortest)
        self._counts = [_running(s.counted) for s in self.sequences]
        self._frames = np.array([len(s) for s in self.sequences], np.int64)
        self._least = np.array([_least(s.counted, self._fewest) for s in self.sequences], np.int64)
        lengths = np.arange(self.shortest, self.longest + 1)
        able = [bool(((self._least <= n) & (self._frames >= n)).any()) for n in lengths]
        self._lengths = lengths[able]
        if not self._lengths.size:
            raise CacheError(self._nothing())

    def _nothing(self) -> str:
        counted = [int(s.counted.sum()) for s in self.sequences]
        return (
            f"no training window: of {len(self.sequences)} videos none has {self._fewest} frames "
            f"with face and label within {self.shortest} to {self.longest} frames (longest video "
            f"{max(self._frames, default=0)} frames, most counted frames in one "
            f"{max(counted, default=0)}); set windows.shortest lower, or check `affcache label`"
        )

    def _starts(self, draw: np.random.Generator, videos: np.ndarray, length: int) -> list[int]:
        """A start in each video, uniform over those whose window has enough counted frames.

        Blindly first; where that misses, from the list of all good starts. Both are uniform over
        the good ones, so their mixture is.
        """
        starts: list[int] = draw.integers(self._frames[videos] - length + 1).tolist()
        for row, video in enumerate(videos.tolist()):
            counts, start = self._counts[video], starts[row]
            if counts[start + length] - counts[start] < self._fewest:
                good = np.flatnonzero(counts[length:] - counts[:-length] >= self._fewest)
                starts[row] = int(good[draw.integers(len(good))])
        return starts


def empty_windows(shape: tuple[int, ...]) -> np.ndarray:
    """Memory of a shape for float16 features, laid where windows are copied to fast.

    np.empty begins large arrays 16 bytes into a page, and a cache's rows begin with their page: on
    some processors (AMD's, with glibc's memcpy) copying between two places that are as close within
    their pages as that takes up to twice as long. So this begins at a multiple of 64 bytes, as
    torch's tensors do.
    """
    length = math.prod(shape) * np.dtype(np.float16).itemsize
    raw = np.empty(length + ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % ALIGNMENT
    return raw[first : first + length].view(np.float16).reshape(shape)


def side_by_side(streams: Sized[np.ndarray], window: slice, out: np.ndarray) -> None:
    """Copy a window of every stream into its columns of out (L, D)."""
    first = 0
    for stream in streams:
        out[:, first : first + stream.shape[1]] = stream[window]
        first += stream.shape[1]


def _stream(seed: int, k: int) -> np.random.Generator:
    """Random numbers of their own for every (seed, k): a counter-based generator's far corner."""
    return np.random.Generator(np.random.Philox(key=[seed, k]))


def _choose(draw: np.random.Generator, there: int, wanted: int) -> np.ndarray:
    """Different ones if there are enough, else any."""
    return draw.choice(there, wanted, replace=there < wanted, shuffle=True)


def _running(counted: np.ndarray) -> np.ndarray:
    """Counted frames before each frame, and in all: (T + 1,) int32."""
    counts = np.zeros(len(counted) + 1, np.int32)
    np.cumsum(counted, out=counts[1:])
    return counts


def _least(counted: np.ndarray, fewest: int) -> int:
    """Length of the shortest window with enough counted frames; beyond any length if none has."""
    at = np.flatnonzero(counted)
    if len(at) < fewest:
        return int(np.iinfo(np.int64).max)
    return int((at[fewest - 1 :] - at[: len(at) - fewest + 1]).min()) + 1
