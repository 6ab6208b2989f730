"""The whole training data on the device: windows are gathered there by index, nothing else moves.

Features stay float16, as in the cache, and are widened window by window; so a batch has the bits
of one that came from the memory maps.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from affcache.windows import Picks, RandomWindows, side_by_side
from stages.train.heads import Windows

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


class Resident:
    """All frames of all sequences, one after the other."""

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        sequences = source.sequences
        ends = list(accumulate(len(s) for s in sequences))
        self.first = [end - len(s) for end, s in zip(ends, sequences, strict=True)]
        self.device = device
        wide, _ = source.widths
        self.features = torch.empty(ends[-1], wide, dtype=torch.float16, device=device)
        for start, sequence in zip(self.first, sequences, strict=True):
            rows = np.empty((len(sequence), wide), np.float16)
            side_by_side(sequence.streams, slice(None), rows)
            self.features[start : start + len(rows)].copy_(torch.from_numpy(rows))

        def table(name: str) -> Tensor:
            rows = np.concatenate([getattr(s, name) for s in sequences])
            return torch.from_numpy(rows).to(device)

        self.rest = table("pseudo"), table("labels"), table("counted")
        self.steps = torch.arange(source.longest, device=device)

    def gather(self, picks: Picks) -> Windows:
        """The windows of a batch, features in float32."""
        at = [self.first[v] + s for v, s in zip(picks.videos, picks.starts, strict=True)]
        starts = torch.tensor(at).to(self.device, non_blocking=True)
        rows = (starts[:, None] + self.steps[: picks.length]).flatten()
        shape = (len(at), picks.length)
        features, pseudo, labels, mask = (
            rows_of.index_select(0, rows).unflatten(0, shape)
            for rows_of in (self.features, *self.rest)
        )
        return Windows(features.float(), pseudo, labels, mask)
