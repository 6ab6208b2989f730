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
from affcache.readout import apply
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from affcache.windows import load_all, load_split


def pseudo_attributes(cache: Cache, name: str) -> dict[str, Any]:
    """Provenance of a set of pseudo-labels; the backbone's own are covered by the fingerprint."""
    return {} if name == "backbone" else cache.pseudo_attributes(name)


def for_run(
    cache: Cache, task: str, name: str, attributes: Mapping[str, Any], split: str | None = None
) -> list[FrameSequence]:
    """Sequences of a cache with the pseudo-labels that a run was trained with.

    Parameters
    ----------
    name, attributes : of the run's pseudo-labels
    split : only videos of this split; None takes all

    Raises
    ------
    RunError
        If the pseudo-labels are neither in the cache nor can be made from a readout's weights.
    """
    there = name == "backbone" or (
        name in cache.pseudo_names() and cache.pseudo_attributes(name) == dict(attributes)
    )
    sequences = load_all(cache.path, task, name if there else None)
    if not there:
        model = attributes.get("tasks", {}).get(task)
        if model is None:
            raise RunError(
                f"{cache.path}: lacks the pseudo-labels {name!r} that the run was trained with, "
                "and the run holds no readout to make them"
            )
        sequences = [_with_readout(s, model) for s in sequences]
    if split is not None:
        chosen = {v.id for v in cache.videos() if _split(v.label_attributes, task) == split}
        sequences = [s for s in sequences if s.id in chosen]
    check_pseudo(sequences, f"{cache.path}: pseudo-labels {name!r}")
    return sequences


def split_if_labelled(cache: Cache, task: str, pseudo: str, split: str) -> list[FrameSequence]:
    """The videos of a split, or none where it has no labelled frame with a face."""
    named = [v for v in cache.videos() if _split(v.label_attributes, task) == split]
    if not any(v.label(task) is not None for v in named):
        return []
    sequences = load_split(cache.path, task, pseudo, split)
    return sequences if any(s.counted.any() for s in sequences) else []


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
    old, new = _flat(run_cache.get("fields", {})), _flat(cache.header.get("fields", {}))
    differing = "; ".join(
        f"{key}: {old.get(key, 'absent')!s:.60} in the run, {new.get(key, 'absent')!s:.60} here"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )
    raise CacheError(
        f"{cache.path}: has another fingerprint than the cache of the run ({differing}); extract "
        "it with the same settings"
    )


def digest(sequences: Sequence[FrameSequence]) -> str:
    """sha256 over what a run learns from beside the features: ids, masks, labels, pseudo-labels."""
    total = hashlib.sha256()
    for sequence in sequences:
        total.update(sequence.id.encode())
        for array in (sequence.counted, sequence.labels, sequence.pseudo):
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _with_readout(sequence: FrameSequence, model: Mapping[str, Any]) -> FrameSequence:
    said = np.asarray(apply(model, sequence.features), np.float32).copy()
    said[~sequence.valid] = np.nan
    return dataclasses.replace(sequence, pseudo=said)


def _split(attributes: Mapping[str, Any], task: str) -> str | None:
    split = attributes.get("split", {})
    return split.get(task) if isinstance(split, Mapping) else None


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        inside = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return flat
