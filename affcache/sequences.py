"""A cached video as a head sees it: mapped features with pseudo-labels, labels and what counts.

Only the features are large, so only they stay mapped (one map and, before Python 3.13, one open
file a video and stream); the rest is some 26 bytes a frame and is read once. A sequence is pickled
as the paths of what it was read from, and reads them again where it arrives.

Convention: labels and pseudo-labels of a task have the same columns, see `affcache.targets`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import CacheError
from affcache.places import Place, place
from affcache.store import Cache, Video
from affcache.targets import columns, complete, names_of, split_of, tasks_in

FEATURES = ("features",)


@dataclass(frozen=True)
class Origin:
    """Where sequences were read from: enough to read them again in another process.

    Attributes
    ----------
    cache : its folder or zip; opened once for all the sequences that share this origin
    targets : task -> names of its columns
    pseudo : whose pseudo-labels (None: nobody's)
    split : whose labels to show where tasks are split differently (None: all)
    streams : which arrays are the features
    """

    cache: Path
    targets: Mapping[str, tuple[str, ...]]
    pseudo: str | None
    split: str | None = None
    streams: tuple[str, ...] = FEATURES

    @cached_property
    def place(self) -> Place:
        """The opened cache."""
        return place(self.cache)

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (self.cache, dict(self.targets), self.pseudo, self.split, self.streams)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """One video: T frames, D features, K targets.

    Attributes
    ----------
    id, subject : of the video; the subject is the id where nobody annotated one
    features : (T, D) float16, a read-only view of the cache's file; the first of several streams
    others : further streams, (T, d) each
    pseudo : (T, K) float32; NaN where there is no face or no pseudo-label
    labels : (T, K) float32; NaN where nothing is annotated
    counted : (T,) bool, frames to learn from and to be scored on: a face and a label of one task
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
    others: tuple[np.ndarray, ...] = ()
    origin: Origin | None = None
    read: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def streams(self) -> tuple[np.ndarray, ...]:
        """Everything that a window's features are made of, (T, d) each."""
        return (self.features, *self.others)

    def __reduce__(self) -> tuple[Any, ...]:
        """Paths for what is still as it was read, data for what was put in its place."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "read"}
        if self.origin is not None:
            own = {n: a for n, a in own.items() if self.read.get(n) is not a}
        return _restore, (own,)


def read_sequence(origin: Origin, video_id: str) -> Sequence:
    """A published video; labels and pseudo-labels are NaN where it has none.

    Raises
    ------
    CacheError
        If arrays of the video do not have the same number of frames, or it lacks a stream.
    """
    video, name, targets = Video(origin.place, video_id), origin.pseudo, origin.targets
    valid = np.array(video.array("valid"))
    shown = [t for t in targets if origin.split in (None, split_of(video, t))]
    labels = {t: video.label(t) if t in shown else None for t in targets}
    said = {t: video.pseudo(name, t) if name is not None else None for t in targets}
    streams = [_stream(video, stream) for stream in origin.streams]
    time = np.array(video.array("time"))
    lengths = {"features": len(streams[0]), "time": len(time)}
    lengths |= {stream: len(a) for stream, a in zip(origin.streams, streams, strict=True)}
    lengths |= {f"{t} labels": len(a) for t, a in labels.items() if a is not None}
    lengths |= {f"{t} pseudo-labels": len(a) for t, a in said.items() if a is not None}
    for what, length in lengths.items():
        if length != len(valid):
            raise CacheError(
                f"{origin.cache}: video {video_id} has {len(valid)} frames, but {length} rows of "
                f"{what}; write them again (`affcache label`, `affcache readout`)"
            )
    as_labels, as_pseudo = (
        {t: columns(t, rows[t], len(valid), len(targets[t])) for t in targets}
        for rows in (labels, said)
    )
    for t, names in targets.items():
        widths = as_labels[t].shape[1], as_pseudo[t].shape[1]
        if widths != (len(names), len(names)):
            raise CacheError(
                f"{origin.cache}: video {video_id} has {widths[0]} columns of {t} labels and "
                f"{widths[1]} of pseudo-labels, expected {len(names)} ({', '.join(names)})"
            )
    known = [complete(t, as_labels[t]) for t in targets]
    arrays: dict[str, Any] = {
        "features": streams[0],
        "others": tuple(streams[1:]),
        "pseudo": np.concatenate(list(as_pseudo.values()), axis=1),
        "labels": np.concatenate(list(as_labels.values()), axis=1),
        "valid": valid,
        "time": time,
        "counted": valid & np.any(known, axis=0),
    }
    return Sequence(
        id=video.id,
        subject=person_of(video),
        **arrays,
        origin=origin,
        read=arrays,
    )


def person_of(video: Video) -> str:
    """Who is seen in a video: its annotated subject, or its id where nobody said."""
    return str(video.label_attributes.get("subject", video.id))


def load_all(
    cache: Path, task: str, pseudo: str | None, streams: tuple[str, ...] = FEATURES
) -> list[Sequence]:
    """Every published video, in the order of ids; labels and pseudo-labels NaN where absent.

    Raises
    ------
    CacheError
        If there is no video, or their features differ in width.
    """
    videos = Cache(cache).videos()
    if not videos:
        raise CacheError(f"{cache}: holds no video yet; run `affcache extract`")
    return read_sequences(
        Origin(cache, target_names(videos, task, str(cache)), pseudo, None, streams)
    )


def load_split(
    cache: Path,
    task: str,
    pseudo: str | None,
    split: str,
    streams: tuple[str, ...] = FEATURES,
) -> list[Sequence]:
    """The videos whose split is `split` for a task (one of several), in the order of ids.

    Parameters
    ----------
    pseudo : whose pseudo-labels; "backbone" means the extraction's own, None nobody's

    Raises
    ------
    CacheError
        If the split has no video, none of its videos is annotated for a task, or one of them
        lacks the pseudo-labels.
    """
    videos = split_videos(Cache(cache), task, split)
    targets = target_names(Cache(cache).videos(), task, str(cache))
    if all(v.label(t) is None for v in videos for t in targets):
        raise CacheError(
            f"{cache}: {len(videos)} videos are in split {split!r}, but none of them has {task} "
            "labels; write them with `affcache label`"
        )
    for video, t in product(videos, targets):
        if pseudo is not None and video.pseudo(pseudo, t) is None:
            raise CacheError(
                f"{cache}: video {video.id} has no {t} pseudo-labels {pseudo!r}; "
                + _who_has(Cache(cache), t)
            )
    return read_sequences(Origin(cache, targets, pseudo, split, streams), {v.id for v in videos})


def target_names(videos: Iterable[Video], task: str, where: str) -> dict[str, tuple[str, ...]]:
    """Names of the columns of every task in a word such as "va+au".

    Raises
    ------
    CacheError
        If a task is unknown, or videos disagree about which action units they have.
    """
    found = {}
    for one in tasks_in(task):
        named = {names for v in videos if (names := names_of(v, one)) is not None}
        if len(named) != 1:
            said = " and ".join(", ".join(names) for names in sorted(named)) or "none at all"
            raise CacheError(f"{where}: videos name their {one} columns {said}; expected one set")
        found[one] = named.pop()
    return found


def split_videos(cache: Cache, task: str, split: str) -> list[Video]:
    """Videos that are in a split for one of the tasks, or an error that says what there is."""
    tasks = tasks_in(task)
    splits = {video.id: [split_of(video, one) for one in tasks] for video in cache.videos()}
    chosen = [video for video in cache.videos() if split in splits[video.id]]
    if not chosen:
        there = Counter(name for names in splits.values() for name in {*names} - {None})
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
    names = pseudo_sets(opened, task)
    if "backbone" in names or len(names) == 1:
        return names[0]
    trouble = "several sets of" if names else "no"
    raise CacheError(f"{cache}: {trouble} {task} pseudo-labels; {_who_has(opened, task)}")


def pseudo_sets(cache: Cache, task: str) -> list[str]:
    """Sets of pseudo-labels, the backbone's first, that have every task of a word.

    Sets that leave frames out (`affcache pseudo-label`) are for filling labels and not among them.
    """
    videos, tasks = cache.videos(), tasks_in(task)
    whole = [n for n in cache.pseudo_names() if not cache.pseudo_attributes(n).get("partial")]
    names = ["backbone", *whole]
    return [n for n in names if all(any(v.pseudo(n, t) is not None for v in videos) for t in tasks)]


def check_widths(sequences: Iterable[Sequence], where: str) -> None:
    """Refuse videos whose features differ in width, naming two of them."""
    first: Sequence | None = None
    for sequence in sequences:
        first = first or sequence
        for one, other in zip(first.streams, sequence.streams, strict=True):
            if one.shape[1] != other.shape[1]:
                raise CacheError(
                    f"{where}: video {first.id} has {one.shape[1]} features a frame, "
                    f"{sequence.id} has {other.shape[1]}; extract them again into a fresh cache"
                )


def _restore(own: dict[str, Any]) -> Sequence:
    origin = own.get("origin")
    if origin is None:
        return Sequence(**own)
    fresh = read_sequence(origin, own["id"])
    return Sequence(**(fresh.read | own), read=fresh.read)


def read_sequences(origin: Origin, ids: Collection[str] | None = None) -> list[Sequence]:
    """Some of a cache's videos, or all, in the order of ids, refused if they differ in width."""
    chosen = [i for i in Cache(origin.cache).video_ids() if ids is None or i in ids]
    sequences = [read_sequence(origin, video_id) for video_id in chosen]
    check_widths(sequences, str(origin.cache))
    return sequences


def _stream(video: Video, name: str) -> np.ndarray:
    """A stream as rows of numbers: mapped where it can be, landmarks relative to the face's box."""
    if not video.has(name):
        raise CacheError(
            f"video {video.id} has no stream {name!r}; choose a head without it, or extract with a "
            "backbone that gives it (`affcache info` lists the streams)"
        )
    rows = video.array(name)
    if name == "landmarks":
        return _within_box(rows, video.array("box"))
    return rows if rows.ndim == 2 else rows.reshape(len(rows), -1)


def _within_box(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Landmarks (T, k, 2) as (T, 2 k) float16: the box's centre is 0, its sides are at -1 and 1."""
    low, high = box[:, None, :2], box[:, None, 2:]
    inside = (2 * points - low - high) / np.where(high > low, high - low, 1)
    flat = np.nan_to_num(inside, nan=0.0).reshape(len(points), -1)
    return np.asarray(flat, np.float16)


def _who_has(cache: Cache, task: str) -> str:
    names = pseudo_sets(cache, task)
    if not names and all(video.label(task) is None for video in cache.videos()):
        return f"nor any {task} labels to fit them to with `affcache readout`: choose another task"
    if not names:
        return f"make them with `affcache readout --cache {cache.path} --task {task}`"
    return f"choose with --pseudo: {', '.join(names)}"
