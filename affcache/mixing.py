"""Batches that mix sets of sequences, so many windows of each: sets that know different tasks.

Paper 002, section VI.B: at every iteration one batch of images with valence and arousal, one with
action units and one with expressions are concatenated (401, 247 and 103), so that every term of the
loss sees labels and their shares do not change from batch to batch.
"""

from __future__ import annotations

from collections.abc import Sequence as Sized

from affcache.sequences import Sequence, check_widths
from affcache.windows import Picks, RandomWindows

ODD = 0x9E3779B97F4A7C15  # steps of 2^64 / golden ratio give every set a seed of its own


class MixedWindows(RandomWindows):
    """Training batches of several sets: batch k is a pure function of (seed, k).

    A batch is `RandomWindows` of every set, one after the other, all of one length.

    Parameters
    ----------
    sets : what to draw from
    sizes : windows of each set in a batch
    length : of all windows, in frames
    seed : any integer from 0 to 2**64 - 1; sets draw apart from each other

    Raises
    ------
    CacheError
        If a set has not a single window to draw, or features differ in width.
    """

    def __init__(
        self, sets: Sized[Sized[Sequence]], *, sizes: Sized[int], length: int, seed: int = 0
    ) -> None:
        if len(sets) != len(sizes) or not sets:
            raise ValueError(f"{len(sets)} sets, but {len(sizes)} sizes")
        self.sequences = [s for own in sets for s in own]
        check_widths(self.sequences, "training windows")
        self.shortest = self.longest = length
        self.size, self.seed = sum(sizes), seed
        self.parts = [
            RandomWindows(
                own, shortest=length, longest=length, batch=size, seed=(seed + i * ODD) % 2**64
            )
            for i, (own, size) in enumerate(zip(sets, sizes, strict=True))
        ]

    @property
    def unused(self) -> list[str]:
        """Ids of the videos that are never drawn."""
        return [video for part in self.parts for video in part.unused]

    def picks(self, k: int) -> Picks:
        """Which windows batch k >= 0 consists of."""
        videos: list[int] = []
        starts: list[int] = []
        before = 0
        for part in self.parts:
            own = part.picks(k)
            videos += [before + video for video in own.videos]
            starts += own.starts
            before += len(part.sequences)
        return Picks(self.longest, videos, starts)

    def _prepare(self) -> None:
        """Nothing: the parts keep their own tables."""
