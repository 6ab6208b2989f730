"""What a cache holds: its videos one by one, and the whole in figures.

A frame is labelled for a task if every value of the task is there; for action units one unit is
enough. A video's length is that of its frames' times plus one mean step, because the last frame
lasts, too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from affcache import notes
from affcache.arrays import METADATA
from affcache.progress import Progress
from affcache.schema import LABEL_ARRAYS
from affcache.store import Cache, Video
from affcache.targets import SPLIT_OF

NO_SPLIT = "-"


def video_rows(cache: Cache) -> list[dict[str, Any]]:
    """One row a video, in the order of ids.

    Returns
    -------
    list of dict
        video, frames, seconds, face (frames with one), tasks (task -> labelled frames), split
        (task -> name), subject, bytes (annotations and pseudo-labels included).

    Raises
    ------
    CacheError
        If an array is damaged.
    """
    return _rows(cache, _sizes(cache, notes.read(cache.place)))


def _rows(cache: Cache, files: Mapping[str, int]) -> list[dict[str, Any]]:
    sizes = _bytes_of_videos(cache, files)
    rows = []
    with Progress("reading", len(sizes), "videos") as progress:
        for video in cache.videos():
            said = video.label_attributes
            split = said.get("split")
            valid = video.array("valid")
            rows.append(
                {
                    "video": video.id,
                    "frames": len(valid),
                    "seconds": round(_seconds(video), 3),
                    "face": int(np.count_nonzero(valid)),
                    "tasks": _labelled(video),
                    "split": _strings(split),
                    "subject": str(said["subject"]) if "subject" in said else None,
                    "bytes": sizes[video.id],
                }
            )
            progress.advance(note=video.id)
    return rows


def describe(cache: Cache) -> dict[str, Any]:
    """What a cache is, who made it how, and what it holds, as JSON can say it."""
    header = cache.header
    sealed = notes.read(cache.place)
    files = _sizes(cache, sealed)
    rows = _rows(cache, files)
    return {
        "cache": str(cache.path),
        "kind": "packed file" if cache.path.is_file() else "folder",
        "dataset": header.get("dataset"),
        "format_version": header.get("format_version"),
        "fingerprint": cache.fingerprint,
        "fields": header.get("fields", {}),
        "provenance": header.get("provenance", {}),
        "sealed": sealed is not None,
        "videos": len(rows),
        "subjects": len({row["subject"] for row in rows} - {None}),
        "frames": sum(row["frames"] for row in rows),
        "hours": round(sum(row["seconds"] for row in rows) / 3600, 4),
        "face": sum(row["face"] for row in rows),
        "bytes": sum(files.values()),
        "arrays": _arrays(cache),
        "pseudo": cache.pseudo_names(),
        "coverage": coverage(rows),
    }


def coverage(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Label coverage: one row a task and split, with the videos, their frames and the labelled."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        for task in sorted(row["tasks"].keys() | row["split"].keys()):
            split = row["split"].get(SPLIT_OF.get(task, task), NO_SPLIT)
            counts = found.setdefault((task, split), Counter())
            counts.update(videos=1, frames=row["frames"], labelled=row["tasks"].get(task, 0))
    return [
        {"task": task, "split": split, **counts, "share": _share(counts)}
        for (task, split), counts in sorted(found.items())
    ]


def _strings(split: object) -> dict[str, str]:
    return {k: str(v) for k, v in split.items()} if isinstance(split, dict) else {}


def _share(counts: Mapping[str, int]) -> float:
    return round(counts["labelled"] / counts["frames"], 4) if counts["frames"] else 0.0


def _seconds(video: Video) -> float:
    time = video.array("time")
    if len(time) > 1:
        span = float(time[-1]) - float(time[0])
        return span * len(time) / (len(time) - 1) if 0 <= span < math.inf else 0.0
    fps = video.attributes.get("fps")
    return len(time) / fps if isinstance(fps, int | float) and fps > 0 else 0.0


def _labelled(video: Video) -> dict[str, int]:
    """Annotated frames of every task that the video is annotated for."""
    found = {}
    for task in LABEL_ARRAYS:
        rows = video.label(task)
        if rows is not None:
            there = np.isfinite(rows) if rows.dtype.kind == "f" else rows >= 0
            flat = there.reshape(len(there), -1)
            whole = flat.any(axis=1) if task.startswith("au") else flat.all(axis=1)
            found[task] = int(np.count_nonzero(whole))
    return found


def _arrays(cache: Cache) -> dict[str, dict[str, Any]]:
    """The videos' arrays: type, width and how many videos have them."""
    found: dict[str, dict[str, Any]] = {}
    for video in cache.videos():
        for name in cache.place.members(f"videos/{video.id}"):
            if video.has(name):
                array = video.array(name)
                said = {"dtype": array.dtype.name, "width": list(array.shape[1:])}
                entry = found.setdefault(name, {**said, "videos": 0})
                entry["videos"] += 1
    return dict(sorted(found.items()))


def _sizes(cache: Cache, sealed: notes.Files | None) -> dict[str, int]:
    """Every file's length in bytes, as it is sealed or as it lies there."""
    if sealed is not None:
        return {name: file.size for name, file in sealed.items()}
    return {name: cache.place.size(name) for name in cache.place.files()}


def _bytes_of_videos(cache: Cache, files: Mapping[str, int]) -> Counter[str]:
    sizes = Counter(dict.fromkeys(cache.video_ids(), 0))
    for name, size in files.items():
        top, *rest = name.split("/")
        if top == "pseudo":
            rest = rest[1:]
        if rest and rest[0] in sizes and rest[0] != METADATA:
            sizes[rest[0]] += size
    return sizes
