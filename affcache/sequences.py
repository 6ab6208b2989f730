"""A cached video as a head sees it: mapped features with pseudo-labels, labels and what counts.

Only the features are large, so only they stay mapped (one map and, before Python 3.13, one open
file a video); the rest is some 26 bytes a frame and is read once. A sequence is pickled as the
paths of what it was read from, and reads them again where it arrives.

Convention: labels and pseudo-labels of a task have the same columns: valence, arousal ("va");
the seven expressions, annotated ones as 0 and 1 ("expr"); the twelve action units ("au").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import CacheError
from affcache.places import Place, place
from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS
from affcache.store import Cache, Video

COLUMNS: dict[str, int] = {
    "va": len(DIMENSIONS),
    "expr": len(EXPRESSIONS),
    "au": len(ACTION_UNITS),
}


@dataclass(frozen=True)
class Origin:
    """Where sequences were read from: enough to read them again in another process.

    Attributes
    ----------
    cache : its folder or zip; opened once for all the sequences that share this origin
    task, pseudo : which labels, whose pseudo-labels (None: nobody's)
    """

    cache: Path
    task: str
    pseudo: str | None

    @cached_property
    def place(self) -> Place:
        """The opened cache."""
        return place(self.cache)

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (self.cache, self.task, self.pseudo)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """One video: T frames, D features, k targets.

    Attributes
    ----------
    id, subject : of the video; the subject is the id where nobody annotated one
    features : (T, D) float16, a read-only view of the cache's file
    pseudo : (T, k) float32; NaN where there is no face or no pseudo-label
    labels : (T, k) float32; NaN where nothing is annotated
    counted : (T,) bool, frames to learn from and to be scored on: a face and a label. For "au" one
        annotated unit is a label, the others' columns are NaN
    valid : (T,) bool, frames with a face
    time : (T,) float64, seconds
    origin : where these arrays came from; None if they were not read from a cache
    """

    id: str
    subject: str
    features: np.ndarray
    pseudo: np.ndarray
    labels: np.ndarray
    counted: np.ndarray
    valid: np.ndarray
    time: np.ndarray
    origin: Origin | None = None
    read: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.valid)

    def __reduce__(self) -> tuple[Any, ...]:
        """Paths for what is still as it was read, data for what was put in its place."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "read"}
        if self.origin is not None:
            own = {n: a for n, a in own.items() if self.read.get(n) is not a}
        return _restore, (own,)


def read_sequence(origin: Origin, video_id: str) -> Sequence:
    """A published video for one task; labels and pseudo-labels are NaN where it has none.

    Raises
    ------
    CacheError
        If arrays of the video do not have the same number of frames.
    """
    video, task = Video(origin.place, video_id), origin.task
    valid = np.array(video.array("valid"))
    said = video.pseudo(origin.pseudo, task) if origin.pseudo is not None else None
    labels = _columns(task, video.label(task), len(valid))
    arrays = {
        "features": video.array("features"),
        "pseudo": _columns(task, said, len(valid)),
        "labels": labels,
        "valid": valid,
        "time": np.array(video.array("time")),
    }
    for name, array in arrays.items():
        if len(array) != len(valid):
            raise CacheError(
                f"{origin.cache}: video {video_id} has {len(valid)} frames, but {len(array)} rows "
                f"of {task} {name}; write them again (`affcache label`, `affcache readout`)"
            )
    known = np.isfinite(labels)
    arrays["counted"] = valid & (known.any(axis=1) if task == "au" else known.all(axis=1))
    return Sequence(
        id=video.id,
        subject=str(video.label_attributes.get("subject", video.id)),
        **arrays,
        origin=origin,
        read=arrays,
    )


def load_all(cache: Path, task: str, pseudo: str | None) -> list[Sequence]:
    """Every published video, in the order of ids; labels and pseudo-labels NaN where absent.

    Raises
    ------
    CacheError
        If there is no video, or their features differ in width.
    """
    origin = Origin(cache, known_task(task), pseudo)
    sequences = [read_sequence(origin, video_id) for video_id in Cache(cache).video_ids()]
    if not sequences:
        raise CacheError(f"{cache}: holds no video yet; run `affcache extract`")
    check_widths(sequences, str(cache))
    return sequences


def load_split(cache: Path, task: str, pseudo: str, split: str) -> list[Sequence]:
    """The videos whose split for this task is `split`, in the order of ids.

    Parameters
    ----------
    pseudo : whose pseudo-labels; "backbone" means the extraction's own

    Raises
    ------
    CacheError
        If the split has no video, none of its videos is annotated for the task, or one of them
        lacks the pseudo-labels.
    """
    videos = split_videos(Cache(cache), known_task(task), split)
    if not any(v.label(task) is not None for v in videos):
        raise CacheError(
            f"{cache}: {len(videos)} videos are in split {split!r}, but none of them has {task} "
            "labels; write them with `affcache label`"
        )
    for video in videos:
        if video.pseudo(pseudo, task) is None:
            raise CacheError(
                f"{cache}: video {video.id} has no {task} pseudo-labels {pseudo!r}; "
                + _who_has(Cache(cache), task)
            )
    origin = Origin(cache, task, pseudo)
    sequences = [read_sequence(origin, video.id) for video in videos]
    check_widths(sequences, str(cache))
    return sequences


def split_videos(cache: Cache, task: str, split: str) -> list[Video]:
    """Videos of a split, or an error that says which splits there are."""
    splits = {video.id: split_of(video, task) for video in cache.videos()}
    chosen = [video for video in cache.videos() if splits[video.id] == split]
    if not chosen:
        there = Counter(name for name in splits.values() if name is not None)
        says = ", ".join(f"{name} {count}" for name, count in sorted(there.items()))
        raise CacheError(
            f"{cache.path}: no video in split {split!r} for task {task} among {len(splits)} (there "
            f"are: {says or 'none annotated; write annotations with `affcache label`'})"
        )
    return chosen


def default_pseudo(cache: Path, task: str) -> str:
    """Whose pseudo-labels to use when nobody says: the backbone's, else the only set there is.

    Raises
    ------
    CacheError
        If there is none (see `affcache readout`), or several.
    """
    opened = Cache(cache)
    names = _sets(opened, known_task(task))
    if "backbone" in names or len(names) == 1:
        return names[0]
    trouble = "several sets of" if names else "no"
    raise CacheError(f"{cache}: {trouble} {task} pseudo-labels; {_who_has(opened, task)}")


def known_task(task: str) -> str:
    """The task itself, or an error that lists the tasks."""
    if task not in TASKS:
        raise CacheError(f"task {task!r} is unknown; there are {', '.join(TASKS)}")
    return task


def check_widths(sequences: Iterable[Sequence], where: str) -> None:
    """Refuse videos whose features differ in width, naming two of them."""
    first: Sequence | None = None
    for sequence in sequences:
        first = first or sequence
        width, other = first.features.shape[1], sequence.features.shape[1]
        if width != other:
            raise CacheError(
                f"{where}: video {first.id} has {width} features a frame, {sequence.id} has "
                f"{other}; extract them again into a fresh cache"
            )


def _restore(own: dict[str, Any]) -> Sequence:
    origin = own.get("origin")
    if origin is None:
        return Sequence(**own)
    fresh = read_sequence(origin, own["id"])
    return Sequence(**(fresh.read | own), read=fresh.read)


def _columns(task: str, rows: np.ndarray | None, frames: int) -> np.ndarray:
    """Labels or pseudo-labels as float32 columns in memory, NaN for what is missing."""
    if rows is None:
        return np.full((frames, COLUMNS[task]), np.nan, np.float32)
    if rows.dtype.kind == "f":
        return np.array(rows, np.float32)
    there = rows[:, None] if rows.ndim == 1 else rows
    values = there == np.arange(COLUMNS[task]) if task == "expr" else there
    return np.where(there < 0, np.nan, values).astype(np.float32)


def split_of(video: Video, task: str) -> str | None:
    """Which split a video is in for a task, None where nobody said."""
    split = video.label_attributes.get("split")
    return split.get(task) if isinstance(split, dict) else None


def _sets(cache: Cache, task: str) -> list[str]:
    videos = cache.videos()
    names = ["backbone", *cache.pseudo_names()]
    return [n for n in names if any(v.pseudo(n, task) is not None for v in videos)]


def _who_has(cache: Cache, task: str) -> str:
    names = _sets(cache, task)
    if not names:
        return f"make them with `affcache readout --cache {cache.path} --task {task}`"
    return f"choose with --pseudo: {', '.join(names)}"
