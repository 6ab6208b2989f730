"""Labels for frames that nobody annotated: pseudo-labels fill the holes and never replace a label.

Paper 004, section 3.4. Only training is filled; what is validated and scored on is what people
said. What a split holds out is not to be learnt from in any way: a task whose split hides a video
from training stays empty there, and so does every unannotated video of a person who is held out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from affcache.errors import CacheError
from affcache.sequences import Origin, person_of, read_sequence
from affcache.store import Cache, Video
from affcache.targets import columns, complete, split_of
from affcache.windows import Sequence as FrameSequence


def fill(
    sequences: Sequence[FrameSequence],
    cache: Cache,
    names: Sequence[str],
    targets: Mapping[str, tuple[str, ...]],
) -> list[FrameSequence]:
    """Sequences whose holes have the labels of pseudo-label sets; earlier sets win over later ones.

    Parameters
    ----------
    names : sets of the cache, as `affcache pseudo-label` makes them
    targets : task -> names of its columns

    Raises
    ------
    CacheError
        If the cache has no set of that name, or none of them has any of the tasks.
    """
    _check(cache, names, targets)
    return [_filled(sequence, cache.video(sequence.id), names, targets) for sequence in sequences]


def unannotated(
    cache: Cache,
    targets: Mapping[str, tuple[str, ...]],
    pseudo: str | None,
    streams: tuple[str, ...],
    learnt: Collection[str],
) -> list[FrameSequence]:
    """Videos that are in no split of any of the tasks: with pseudo-labels they can be learnt from.

    Never among them are videos of the validation and test splits, annotated or not, nor others of
    the people in them.

    Parameters
    ----------
    learnt : ids of the videos that are learnt from as annotated; the people of all other videos
        that are in a split are held out
    """
    origin = Origin(cache.path, targets, pseudo, None, streams)
    placed = {
        v.id: [split_of(v, task) for task in targets] != [None] * len(targets)
        for v in cache.videos()
    }
    held_out = {person_of(v) for v in cache.videos() if placed[v.id] and v.id not in learnt}
    return [
        read_sequence(origin, video.id)
        for video in cache.videos()
        if not placed[video.id]
        and person_of(video) not in held_out
        and all(video.label(task) is None for task in targets)
    ]


def provenance(cache: Cache, names: Sequence[str]) -> list[dict[str, Any]]:
    """Which sets filled a run's labels, for its config: name and where it came from."""
    kept = ("method", "run", "head", "threshold", "min_support", "min_confidence", "counts")
    found = []
    for name in names:
        said = cache.pseudo_attributes(name)
        found.append({"name": name, **{key: said[key] for key in kept if key in said}})
    return found


def _filled(
    sequence: FrameSequence, video: Video, names: Sequence[str], targets: Mapping[str, Any]
) -> FrameSequence:
    parts, first = [], 0
    for task, named in targets.items():
        own = sequence.labels[:, first : first + len(named)].copy()
        first += len(named)
        human = columns(task, video.label(task), len(own), len(named))
        for name in () if _hidden(sequence, video, task) else names:
            said = video.pseudo(name, task)
            if said is not None:
                _pour(task, own, human, columns(task, said, len(own), len(named)))
        parts.append(own)
    labels = np.concatenate(parts, axis=1)
    known = [complete(task, part) for task, part in zip(targets, parts, strict=True)]
    counted = sequence.valid & np.any(known, axis=0)
    return dataclasses.replace(sequence, labels=labels, counted=counted)


def _hidden(sequence: FrameSequence, video: Video, task: str) -> bool:
    """Whether the video is in another split for this task than the one that it was read for."""
    shown = sequence.origin.split if sequence.origin else None
    return shown is not None and split_of(video, task) not in (None, shown)


def _pour(task: str, own: np.ndarray, human: np.ndarray, said: np.ndarray) -> None:
    """Fill the holes of own (T, k) in place: unit by unit, or frame by frame for other tasks."""
    hole = np.isnan(own) & np.isnan(human)
    if not task.startswith("au"):
        hole = np.repeat(hole.all(axis=1, keepdims=True), own.shape[1], axis=1)
    np.copyto(own, said, where=hole & np.isfinite(said))


def _check(cache: Cache, names: Sequence[str], targets: Mapping[str, Any]) -> None:
    there = cache.pseudo_names()
    for name in names:
        if name not in there:
            raise CacheError(
                f"{cache.path}: no pseudo-labels {name!r} to fill with (there are: "
                f"{', '.join(there) or 'none'}); make them with `affcache pseudo-label`"
            )
    pairs = [(name, task) for name in names for task in targets]
    if not any(v.pseudo(name, task) is not None for v in cache.videos() for name, task in pairs):
        raise CacheError(
            f"{cache.path}: {', '.join(names)} holds no pseudo-labels of {' or '.join(targets)}"
        )
