"""A trained head over whole sequences: consecutive windows, each frame predicted once.

Paper 000, section 4.2: windows of 70 frames in testing. The last window of a sequence is shifted
back to full length, and only the frames that no earlier window had are taken from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from affcache.windows import Sequence as FrameSequence
from affcache.windows import Span, consecutive
from stages.train.batches import on
from stages.train.heads import Head, Windows

FRAMES_AT_ONCE = 64 * 70


class Predicted(NamedTuple):
    """Predictions for one sequence: mean (T, k) and std (T, k) float32, NaN where there is none."""

    mean: np.ndarray
    std: np.ndarray | None


def predict(
    head: Head, sequences: Sequence[FrameSequence], length: int, device: torch.device
) -> list[Predicted]:
    """Predict every frame of every sequence.

    Parameters
    ----------
    head : in eval mode, on `device`
    sequences : labels are not looked at
    length : frames of a window; 0 gives the head whole sequences
    """
    means = [np.full(s.pseudo.shape, np.nan, np.float32) for s in sequences]
    stds = [np.full(s.pseudo.shape, np.nan, np.float32) for s in sequences]
    certain = False
    for group in _batches(sequences, length):
        with torch.inference_mode():
            output = head.predict(on(device, _stack([(sequences[i], span) for i, span in group])))
        certain = certain or output.std is None
        for row, (i, span) in enumerate(group):
            new = slice(span.keep - span.start, None)
            means[i][span.keep : span.stop] = output.mean[row, new].cpu().numpy()
            if output.std is not None:
                stds[i][span.keep : span.stop] = output.std[row, new].cpu().numpy()
    return [Predicted(m, None if certain else s) for m, s in zip(means, stds, strict=True)]


def _batches(sequences: Sequence[FrameSequence], length: int) -> Iterator[list[tuple[int, Span]]]:
    """Windows of equal length together, no more at once than fit comfortably."""
    by_length: dict[int, list[tuple[int, Span]]] = defaultdict(list)
    for i, sequence in enumerate(sequences):
        frames = len(sequence.valid)
        for span in consecutive(frames, length or frames):
            by_length[span.stop - span.start].append((i, span))
    for frames, windows in by_length.items():
        size = max(1, FRAMES_AT_ONCE // frames)
        for first in range(0, len(windows), size):
            yield windows[first : first + size]


def _stack(windows: Sequence[tuple[FrameSequence, Span]]) -> Windows:
    """Windows whose mask is "has a face", and whose labels are absent."""

    def rows(name: str) -> torch.Tensor:
        return torch.from_numpy(
            np.stack([getattr(s, name)[span.start : span.stop] for s, span in windows])
        )

    pseudo = rows("pseudo")
    return Windows(rows("features"), pseudo, torch.full_like(pseudo, torch.nan), rows("valid"))
