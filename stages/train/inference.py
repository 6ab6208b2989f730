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
from affcache.windows import Span, consecutive, side_by_side
from stages.train.device import on
from stages.train.heads import Head, Windows

FRAMES_AT_ONCE = 64 * 70


class Predicted(NamedTuple):
    """Predictions for one sequence, NaN where there is none.

    mean (T, K) and std (T, K) float32, None from a head without uncertainty; details (T, ...) by
    name, zero where a boolean says nothing.
    """

    mean: np.ndarray
    std: np.ndarray | None
    details: dict[str, np.ndarray]


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
    found: list[dict[str, np.ndarray]] = [{} for _ in sequences]
    for group in groups(sequences, length):
        with torch.inference_mode():
            output = head.predict(windows_of(sequences, group, device))
        said = {"mean": output.mean, "std": output.std, **output.details}
        for name, rows in said.items():
            if rows is not None:
                _keep(found, name, rows.cpu().numpy(), group, sequences)
    return [Predicted(own.pop("mean"), own.pop("std", None), own) for own in found]


def sample(
    head: Head, sequence: FrameSequence, length: int, count: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Coherent functions drawn for one sequence, window by window.

    A draw is coherent within its window, because a latent belongs to a window: at a window's border
    the draw of that number starts anew. The draws are the same each time.

    Returns
    -------
    "samples" (T, count, K) float32, NaN where there is no face; "window" (T,) int32, which window
    a frame was taken from.
    """
    found: list[dict[str, np.ndarray]] = [{}]
    generator = torch.Generator(device).manual_seed(0)
    for group in groups([sequence], length):
        windows = windows_of([sequence], group, device)
        with torch.inference_mode():
            drawn = head.sample(windows, count, generator)
        _keep(found, "samples", drawn.permute(1, 2, 0, 3).cpu().numpy(), group, [sequence])
        number = np.array([[span.keep] for _, span in group], np.int32)
        starts = np.broadcast_to(number, drawn.shape[1:3])
        _keep(found, "start", starts, group, [sequence])
    _, window = np.unique(found[0].pop("start"), return_inverse=True)
    return {**found[0], "window": window.astype(np.int32)}


def _keep(
    found: list[dict[str, np.ndarray]],
    name: str,
    rows: np.ndarray,
    group: list[tuple[int, Span]],
    sequences: Sequence[FrameSequence],
) -> None:
    """Put the rows (B, L, ...) of a batch where they belong, frames of earlier windows left out."""
    for row, (i, span) in zip(rows, group, strict=True):
        if name not in found[i]:
            nothing = np.nan if row.dtype.kind == "f" else 0
            shape = (len(sequences[i]), *row.shape[1:])
            found[i][name] = np.full(shape, nothing, row.dtype)
        found[i][name][span.keep : span.stop] = row[span.keep - span.start :]


def groups(sequences: Sequence[FrameSequence], length: int) -> Iterator[list[tuple[int, Span]]]:
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


def windows_of(
    sequences: Sequence[FrameSequence], group: Sequence[tuple[int, Span]], device: torch.device
) -> Windows:
    """A group of windows on the device."""
    return on(device, stack([(sequences[i], span) for i, span in group]))


def stack(windows: Sequence[tuple[FrameSequence, Span]]) -> Windows:
    """Windows whose mask is "has a face", and whose labels are absent."""
    slices = [(s, slice(span.start, span.stop)) for s, span in windows]
    pseudo = torch.from_numpy(np.stack([s.pseudo[window] for s, window in slices]))
    width = sum(stream.shape[1] for stream in windows[0][0].streams)
    features = np.empty((*pseudo.shape[:2], width), np.float16)
    for (s, window), out in zip(slices, features, strict=True):
        side_by_side(s.streams, window, out)
    valid = torch.from_numpy(np.stack([s.valid[window] for s, window in slices]))
    return Windows(torch.from_numpy(features), pseudo, torch.full_like(pseudo, torch.nan), valid)
