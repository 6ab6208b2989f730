"""Sequences for a head: from the cache that it is trained on, and from others like it.

A run keeps the model behind its pseudo-labels, so that it can be used on any cache of the same
fingerprint: where that cache does not hold the very same pseudo-labels, they are made on the spot.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affcache.errors import CacheError, RunError
from affcache.publish import differing_fields
from affcache.readout import apply
from affcache.sequences import Origin, pseudo_sets, read_sequences, target_names
from affcache.store import Cache, Video
from affcache.targets import columns, split_of, tasks_in
from affcache.windows import Sequence as FrameSequence
from affcache.windows import default_pseudo, load_split
from stages.train.heads import Head, Sizes, head_class
from stages.train.recipe import Recipe

NAMED = 4  # differences that a message names: two extractions can differ in everything


def pseudo_name(cache: Cache, recipe: Recipe, streams: Sequence[str]) -> str | None:
    """Whose pseudo-labels a head gets when nobody says; None if it can do without and must.

    Raises
    ------
    CacheError
        If the head needs some and there are none, or several sets.
    """
    sets = pseudo_sets(cache, recipe.task)
    if head_class(recipe.head).needs_pseudo(streams, recipe.model) or len(sets) == 1:
        return default_pseudo(cache.path, recipe.task)
    return "backbone" if "backbone" in sets else None


def pseudo_attributes(cache: Cache, name: str | None) -> dict[str, Any]:
    """Provenance of a set of pseudo-labels; the backbone's own are covered by the fingerprint."""
    return {} if name in (None, "backbone") else cache.pseudo_attributes(name)


def streams_of(cache: Cache, head: type[Head]) -> tuple[str, ...]:
    """The arrays that a head reads: those that it needs, and of the others those that are there."""
    videos = cache.videos()
    there = [name for name in head.OPTIONAL if videos and all(v.has(name) for v in videos)]
    return (*head.STREAMS, *there)


def sizes_of(
    sequences: Sequence[FrameSequence], cache: Cache, task: str, head: type[Head]
) -> Sizes:
    """What a head has to know about its training data."""
    widths = [stream.shape[1] for stream in sequences[0].streams]
    steps = [float(np.median(np.diff(s.time))) for s in sequences if len(s) > 1]
    return Sizes(
        dict(zip(streams_of(cache, head), widths, strict=True)),
        target_names(cache.videos(), task, str(cache.path)),
        round(1 / float(np.median(steps)), 6),
    )


def for_run(
    cache: Cache,
    sizes: Sizes,
    name: str | None,
    attributes: Mapping[str, Any],
    split: str | None = None,
) -> list[FrameSequence]:
    """Sequences of a cache with the streams and pseudo-labels that a run was trained with.

    Parameters
    ----------
    name, attributes : of the run's pseudo-labels
    split : only videos of this split, and its labels; None takes all

    Raises
    ------
    RunError
        If the pseudo-labels are neither in the cache nor can be made from a readout's weights.
    """
    there = name in (None, "backbone") or (
        name in cache.pseudo_names() and cache.pseudo_attributes(name) == dict(attributes)
    )
    origin = Origin(cache.path, sizes.targets, name if there else None, split, tuple(sizes.streams))
    chosen = {
        v.id
        for v in cache.videos()
        if split is None or split in [split_of(v, task) for task in sizes.targets]
    }
    sequences = read_sequences(origin, chosen)
    if not there:
        models = [attributes.get("tasks", {}).get(task) for task in sizes.targets]
        if None in models:
            raise RunError(
                f"{cache.path}: lacks the pseudo-labels {name!r} that the run was trained with, "
                "and the run holds no readout to make them"
            )
        sequences = [_with_readout(s, models) for s in sequences]
    if name is not None:
        check_pseudo(sequences, f"{cache.path}: pseudo-labels {name!r}")
    return sequences


def split_if_labelled(
    cache: Cache, task: str, pseudo: str | None, split: str, streams: tuple[str, ...]
) -> list[FrameSequence]:
    """The videos of a split, or none where it has no labelled frame with a face."""
    videos, tasks = cache.videos(), tasks_in(task)
    if not any(split_of(v, t) == split and v.label(t) is not None for v in videos for t in tasks):
        return []
    sequences = load_split(cache.path, task, pseudo, split, streams)
    return sequences if any(s.counted.any() for s in sequences) else []


def with_labels_of(sequence: FrameSequence, other: FrameSequence) -> FrameSequence:
    """The same video with what either has of labels; the first's where both have them."""
    labels = np.where(np.isnan(sequence.labels), other.labels, sequence.labels)
    counted = sequence.counted | other.counted
    return dataclasses.replace(sequence, labels=labels, counted=counted)


def together(
    training: Sequence[FrameSequence], validation: Sequence[FrameSequence]
) -> list[FrameSequence]:
    """Both splits as one, in the order of ids; a video that tasks put into both has all labels."""
    found = {s.id: s for s in training}
    for s in validation:
        found[s.id] = with_labels_of(found[s.id], s) if s.id in found else s
    return [found[video] for video in sorted(found)]


def with_opinions(
    cache: Cache, targets: Mapping[str, Sequence[str]], sequences: Sequence[FrameSequence]
) -> list[FrameSequence]:
    """Sequences of a run without pseudo-labels, with those that a task has by itself."""
    sets = {task: pseudo_sets(cache, task) for task in targets}
    names = {t: own[0] for t, own in sets.items() if "backbone" in own or len(own) == 1}
    found = []
    for s in sequences:
        video = cache.video(s.id)
        said = {t: video.pseudo(names[t], t) if t in names else None for t in targets}
        parts = [columns(t, said[t], len(s), len(named)) for t, named in targets.items()]
        found.append(dataclasses.replace(s, pseudo=np.concatenate(parts, axis=1)))
    return found


def check_pseudo(sequences: Sequence[FrameSequence], where: str) -> None:
    """Refuse pseudo-labels that are missing in a frame with a face."""
    for sequence in sequences:
        bad = sequence.valid & ~np.isfinite(sequence.pseudo).all(axis=1)
        if bad.any():
            raise CacheError(
                f"{where}: missing in video {sequence.id}, frame {int(bad.argmax())}, which has a "
                "face; make them with `affcache readout`, or name others with --pseudo"
            )


def same_fingerprint(run_cache: Mapping[str, Any], cache: Cache) -> None:
    """Refuse a cache that was extracted in another way than the run's, naming what differs."""
    if run_cache["fingerprint"] == cache.fingerprint:
        return
    found = differing_fields(run_cache.get("fields", {}), cache.header.get("fields", {}))
    named = [f"{key}: {old!s:.60} in the run, {new!s:.60} here" for key, old, new in found[:NAMED]]
    if len(found) > NAMED:
        named.append(f"and {len(found) - NAMED} more")
    raise CacheError(
        f"{cache.path}: has another fingerprint than the cache of the run ({'; '.join(named)}); "
        "extract it with the same settings"
    )


def digest(sequences: Sequence[FrameSequence], given: bool = True) -> str:
    """sha256 over what a run learns from beside the features: ids, masks, labels, pseudo-labels.

    Pseudo-labels only where they were `given`: those that were fitted to these very labels follow
    from them, and their last bits from how many threads there were.
    """
    total = hashlib.sha256()
    for sequence in sequences:
        total.update(sequence.id.encode())
        for array in (sequence.counted, sequence.labels, *([sequence.pseudo] if given else [])):
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def backbone_features(sequence: FrameSequence) -> np.ndarray:
    """What a readout reads, (T, D), whichever streams a head does."""
    origin = sequence.origin
    if origin is None or origin.streams[0] == "features":
        return sequence.features
    return Video(origin.place, sequence.id).array("features")


def _with_readout(sequence: FrameSequence, models: Sequence[Mapping[str, Any]]) -> FrameSequence:
    features = backbone_features(sequence)
    said = np.concatenate([apply(model, features) for model in models], axis=1)
    said[~sequence.valid] = np.nan
    return dataclasses.replace(sequence, pseudo=said)
