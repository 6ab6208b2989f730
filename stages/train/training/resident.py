"""Training data on the device: windows are gathered there by index, nothing else moves.

Pseudo-labels, labels and masks, some 26 bytes a frame, are always there; features where they fit.
They stay float16, as in the cache, and are widened window by window; so a batch has the bits of one
that came from the memory maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from affcache.windows import Picks, RandomWindows, side_by_side

SHARE = 0.5  # of the free memory; the rest is for weights, activations and validation


def size(source: RandomWindows) -> int:
    """Bytes of all frames with pseudo-labels, labels and masks."""
    wide, targets = source.widths
    return sum(len(s) for s in source.sequences) * (2 * wide + 4 * targets + 4 * targets + 1)


def fits(source: RandomWindows, device: torch.device) -> bool:
    """Whether the device is a GPU with room; a CPU has the page cache already."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return size(source) <= SHARE * free


class Drawn(NamedTuple):
    """A batch before its features: which windows, where their frames stand, and what is small.

    rows (B L,) counts frames over all sequences; rest is pseudo (B, L, K), labels (B, L, K) and
    mask (B, L), as in `Windows`.
    """

    picks: Picks
    rows: Tensor
    rest: tuple[Tensor, Tensor, Tensor]


class Tables:
    """What is small of all sequences, one after the other, on a device."""

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        self.source, self.device = source, device
        self.first = [0, *accumulate(len(s) for s in source.sequences)]
        self.steps = np.arange(source.longest)

        def table(name: str) -> Tensor:
            rows = np.concatenate([getattr(s, name) for s in source.sequences])
            return torch.from_numpy(rows).to(device)

        self.pseudo, self.labels, self.mask = table("pseudo"), table("labels"), table("counted")

    def draw(self, iterations: Iterable[int]) -> Iterator[Drawn]:
        """Batches without their features.

        Several at once, because after a training step the processor's caches hold nothing of this
        code: a batch by itself takes 0.5 ms then, one of many a tenth of that.
        """
        picks = [self.source.picks(k) for k in iterations]
        frames = [np.add.outer(self._starts(p), self.steps[: p.length]) for p in picks]
        counts = [own.size for own in frames]
        rows = torch.from_numpy(np.concatenate(frames, axis=None)).to(self.device)
        pseudo, labels, mask = (
            table.index_select(0, rows).split_with_sizes(counts)
            for table in (self.pseudo, self.labels, self.mask)
        )
        for i, (own, at) in enumerate(zip(picks, rows.split_with_sizes(counts), strict=True)):
            shape = frames[i].shape
            rest = pseudo[i].view(*shape, -1), labels[i].view(*shape, -1), mask[i].view(shape)
            yield Drawn(own, at, rest)

    def _starts(self, picks: Picks) -> list[int]:
        return [self.first[v] + s for v, s in zip(picks.videos, picks.starts, strict=True)]


class Resident:
    """Features of all sequences, one after the other, on a device."""

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        wide, _ = source.widths
        frames = sum(len(s) for s in source.sequences)
        self.features = torch.empty(frames, wide, dtype=torch.float16, device=device)
        first = 0
        for sequence in source.sequences:
            rows = np.empty((len(sequence), wide), np.float16)
            side_by_side(sequence.streams, slice(None), rows)
            self.features[first : first + len(rows)].copy_(torch.from_numpy(rows))
            first += len(rows)

    def features_of(self, drawn: Drawn) -> Tensor:
        """The features of a batch's windows (B, L, D) float32."""
        shape = (len(drawn.picks.starts), drawn.picks.length, -1)
        return self.features.index_select(0, drawn.rows).view(shape).float()
