"""What a reader returns, and the rule that brings one row per frame to a video's own frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from affcache.schema import LABEL_ARRAYS

FEW_ROWS, FEW_SHARE = 10, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A video's annotations, one row per decoded frame.

    Attributes
    ----------
    arrays : "va" (frame, 2) float32, "expr" (frame,) int8, "au" (frame, 12) int8; those there are
    rule : how the files' rows came to the frames, in words
    notes : what a person should know: counts that differ, frames without a label, columns left out
    """

    arrays: Mapping[str, np.ndarray]
    rule: str
    notes: tuple[str, ...]


def unlabelled(task: str, frames: int) -> np.ndarray:
    """Rows that say "no label", of a task's shape and type."""
    spec = LABEL_ARRAYS[task]
    sizes = [size or 0 for size in spec.sizes]
    return np.full((frames, *sizes), spec.missing, np.dtype(spec.dtype))


def fit(task: str, rows: np.ndarray, frames: int) -> tuple[np.ndarray, list[str]]:
    """Keep the rows that a video has frames for; frames that have no row are unlabelled.

    Returns
    -------
    The labels, one row per frame, and a note with both numbers where they differ.
    """
    labels = unlabelled(task, frames)
    common = min(len(rows), frames)
    labels[:common] = rows[:common]
    if len(rows) == frames:
        return labels, []
    left = f"{frames - common} frames are left unlabelled" if frames > common else "the rest is cut"
    note = f"{task}: {len(rows)} rows for {frames} frames; the common {common} are kept, {left}"
    if abs(len(rows) - frames) > max(FEW_ROWS, FEW_SHARE * frames):
        note += " (that many apart: is it this video's file?)"
    return labels, [note]
