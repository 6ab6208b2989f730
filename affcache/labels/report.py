"""`affcache label`: write annotations into a cache, and say what frames got and what differs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from affcache.errors import CacheError, ManifestError
from affcache.labels.beside import Report, read_published, write
from affcache.manifest import Manifest, load, resolve, root_of
from affcache.manifest.overview import say_orphans
from affcache.progress import say
from affcache.schema import SPLITS, TASKS
from affcache.store import Cache, unsealed
from affcache.table import show


def label_cache(cache: Path, manifest_name: str, root: Path | None, *, as_json: bool) -> None:
    """Annotate a cache, seal it again, and print how many frames got labels.

    Raises
    ------
    CacheError
        If the cache is packed, or none of the manifest's annotated videos is in it.
    ManifestError
        If nothing is annotated.
    """
    if cache.is_file():
        raise CacheError(f"{cache}: is packed; unpack it to change its labels")
    manifest = load(manifest_name)
    rows = resolve(manifest, root)
    count = sum(bool(row.annotations) for row in rows)
    if not count:
        raise ManifestError(
            f"manifest {manifest.name}: none of its {len(rows)} rows has an annotation under "
            f"{root_of(manifest, root)}; [labels.files] says where they are looked for"
        )
    found = read_published(cache, manifest, rows)
    if not found:
        raise CacheError(
            f"{cache}: has none of the {count} annotated videos of manifest {manifest.name}; "
            "is it the cache of this dataset?"
        )
    with unsealed(cache):
        reports = write(cache, manifest, rows, found)
    say_differences(reports)
    _say_kept(cache, manifest, found)
    say_orphans(manifest, root, rows)
    show(f"labels in {cache}", summary(reports), as_json=as_json)


def _say_kept(cache: Path, manifest: Manifest, found: Collection[str]) -> None:
    """Name the videos that only an earlier labelling annotated."""
    kept = [
        video.id
        for video in Cache(cache).videos()
        if video.id not in found and video.label_attributes.get("dataset") == manifest.name
    ]
    if kept:
        say(f"not annotated any more, labels of before are kept: {', '.join(kept)}")


def summary(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """Counts per task and split: videos, frames, and frames with a label."""
    done = [report for report in reports if report["published"]]
    return [
        {
            "task": task,
            "split": split,
            "videos": len(group),
            "frames": sum(report["frames"] for report in group),
            "labelled": sum(report["labelled"] for report in group),
            "with notes": sum(bool(report["notes"]) for report in group),
        }
        for task in TASKS
        for split in SPLITS
        if (group := [r for r in done if (r["task"], r["split"]) == (task, split)])
    ]


def say_differences(reports: Iterable[Report]) -> None:
    """One line for every note, and one for the annotated videos that are not in the cache."""
    absent = []
    for report in reports:
        for note in report["notes"]:
            say(f"{report['id']}: {note}")
        if not report["published"] and report["id"] not in absent:
            absent.append(report["id"])
    if absent:
        say(f"annotated, but not in the cache: {', '.join(absent)}")
