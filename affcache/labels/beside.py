"""Annotations into a cache, beside the features and never touching them.

Every file is read and checked before the first label is written: a mistake anywhere leaves the
cache as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import LabelError
from affcache.labels import read
from affcache.labels.annotation import Annotation
from affcache.manifest import Manifest, Row
from affcache.progress import Progress
from affcache.store import Cache, write_labels

Report = dict[str, Any]


def annotate(cache: Path, manifest: Manifest, rows: list[Row]) -> list[Report]:
    """Write the labels of every published video that is annotated.

    The cache's seal is the caller's business (`affcache.store.unsealed`).

    Parameters
    ----------
    cache : the cache's folder
    manifest, rows : the description and what it resolved to

    Returns
    -------
    One report per video and task (see `write`).

    Raises
    ------
    LabelError
        With every file's first mistake; nothing is written then.
    """
    return write(cache, manifest, rows, read_published(cache, manifest, rows))


def read_published(cache: Path, manifest: Manifest, rows: list[Row]) -> dict[str, Annotation]:
    """The annotations of every published video that has some, by id; nothing is written.

    A manifest without `[labels]` has none.

    Raises
    ------
    LabelError
        With every file's first mistake.
    """
    labels = manifest.labels
    if labels is None:
        return {}
    opened = Cache(cache)
    published = set(opened.video_ids())
    wanted = [row for row in rows if row.annotations and row.id in published]
    found, mistakes = {}, []
    with Progress("reading annotations", len(wanted), "videos") as progress:
        for row in wanted:
            time = opened.video(row.id).array("time")
            try:
                found[row.id] = read(labels.format, row, time, labels.scale)
            except LabelError as error:
                mistakes.append(str(error))
            progress.advance()
    if len(mistakes) > 1:
        listing = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise LabelError(f"{len(mistakes)} videos have wrong label files{listing}")
    if mistakes:
        raise LabelError(mistakes[0])
    return found


def write(
    cache: Path, manifest: Manifest, rows: list[Row], found: Mapping[str, Annotation]
) -> list[Report]:
    """Write what was read.

    Returns
    -------
    One report per annotated video and task: id, task, split, published, frames, labelled (frames
    with a label), notes. A video that is not in the cache has no frames.
    """
    annotated = [row for row in rows if row.annotations]
    for row in annotated:
        if row.id in found:
            attributes = _attributes(manifest, row, found[row.id])
            write_labels(cache, row.id, found[row.id].arrays, attributes)
    return [_report(row, task, found) for row in annotated for task in row.annotations]


def labelled(task: str, labels: np.ndarray) -> int:
    """How many frames have a label of a task: any of its values is there."""
    there = ~np.isnan(labels) if task == "va" else labels != -1
    return int(there.reshape(len(labels), -1).any(axis=1).sum())


def _attributes(manifest: Manifest, row: Row, annotation: Annotation) -> dict[str, Any]:
    return {
        "dataset": manifest.name,
        "subject": row.subject,
        "split": dict(row.split),
        "format": manifest.labels.format if manifest.labels else None,
        "rule": annotation.rule,
        "notes": list(annotation.notes),
        "sources": {task: _source(row, path) for task, path in row.annotations.items()},
    }


def _source(row: Row, path: Path) -> str:
    """An annotation's path relative to the root, which is where the video's path starts."""
    root = row.path.parents[row.source.count("/")]
    return path.relative_to(root).as_posix()


def _report(row: Row, task: str, found: Mapping[str, Annotation]) -> Report:
    annotation = found.get(row.id)
    labels = annotation.arrays[task] if annotation else None
    return {
        "id": row.id,
        "task": task,
        "split": row.split[task],
        "published": labels is not None,
        "frames": 0 if labels is None else len(labels),
        "labelled": 0 if labels is None else labelled(task, labels),
        "notes": [n for n in annotation.notes if n.startswith(f"{task}:")] if annotation else [],
    }
