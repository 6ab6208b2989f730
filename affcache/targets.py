"""What a head is asked to say per frame: the columns of one task, or of several side by side.

Convention: valence, arousal ("va"); the seven expressions, annotated ones as 0 and 1, pseudo-labels
as probabilities ("expr"); the twelve action units, 0 and 1 ("au"); a data set's own choice of
action unit intensities ("au_intensity"), kept from 0 to 5 and learnt from -1 to 1 (paper 000,
App. A.2). Several tasks are joined by "+", as in "va+expr+au".
"""

from __future__ import annotations

import numpy as np

from affcache.errors import CacheError
from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from affcache.store import Video

FIXED: dict[str, tuple[str, ...]] = {
    "va": DIMENSIONS,
    "expr": EXPRESSIONS,
    "au": tuple(f"AU{unit}" for unit in ACTION_UNITS),
}
TASKS = (*FIXED, "au_intensity")
CONTINUOUS = ("va", "au_intensity")  # scored as numbers; the others as classes
HALF_SCALE = 2.5  # of an action unit's intensity, from 0 to 5
SPLIT_OF = {"au_intensity": "au"}  # one partition serves both readings of an action unit


def tasks_in(joined: str) -> tuple[str, ...]:
    """The tasks of a word such as "va" or "va+expr".

    Raises
    ------
    CacheError
        If one is unknown or named twice.
    """
    tasks = tuple(joined.split("+"))
    for task in tasks:
        if task not in TASKS:
            raise CacheError(f"task {task!r} is unknown; there are {', '.join(TASKS)}")
        if tasks.count(task) > 1:
            raise CacheError(f"task {task!r} is named twice in {joined!r}")
    return tasks


def names_of(video: Video, task: str) -> tuple[str, ...] | None:
    """What a video's columns of a task are called; None where only its annotations could tell."""
    if task in FIXED:
        return FIXED[task]
    labels = video.label(task)
    if labels is None:
        return None
    named = video.label_attributes.get("au_intensity_names")
    if isinstance(named, list) and len(named) == labels.shape[1]:
        return tuple(str(name) for name in named)
    return tuple(f"intensity {k + 1}" for k in range(labels.shape[1]))


def columns(task: str, rows: np.ndarray | None, frames: int, width: int) -> np.ndarray:
    """Stored labels or pseudo-labels as a head sees them: (frames, width) float32, NaN for none."""
    if rows is None:
        return np.full((frames, width), np.nan, np.float32)
    if rows.dtype.kind == "f":
        values = np.array(rows, np.float32)
        return values / HALF_SCALE - 1 if task == "au_intensity" else values
    there = rows[:, None] if rows.ndim == 1 else rows
    shown = there == np.arange(width) if task == "expr" else there
    return np.where(there < 0, np.nan, shown).astype(np.float32)


def stored(task: str, values: np.ndarray) -> np.ndarray:
    """What a head says in the unit that caches keep it in: the way back from `columns`."""
    return (values + 1) * HALF_SCALE if task == "au_intensity" else values


def complete(task: str, labels: np.ndarray) -> np.ndarray:
    """Frames (T,) that are annotated for a task: one unit is enough, other tasks need all."""
    known = np.isfinite(labels)
    return np.asarray(known.any(axis=1) if task.startswith("au") else known.all(axis=1))


def split_of(video: Video, task: str) -> str | None:
    """Which split a video is in for a task, None where nobody said."""
    split = video.label_attributes.get("split")
    if not isinstance(split, dict):
        return None
    found = split.get(task, split.get(SPLIT_OF.get(task, task)))
    return found if isinstance(found, str) else None
