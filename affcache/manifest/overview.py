"""`affcache manifest`: what a dataset resolves to, as counts for people and rows for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affcache.manifest import Manifest, Row, load, names, orphans, resolve, root_of
from affcache.manifest.durations import seconds_of
from affcache.progress import Progress, say
from affcache.schema import SPLITS
from affcache.table import show

FEW = 10


def show_manifests(*, as_json: bool) -> None:
    """Print the manifests that come with affcache."""
    shipped = [load(name) for name in names()]
    rows: list[dict[str, Any]] = [
        {
            "name": manifest.name,
            "title": manifest.title,
            "tasks": ", ".join(manifest.tasks) or "-",
            "root": manifest.root_variable or " ".join(manifest.assets),
        }
        for manifest in shipped
    ]
    if as_json:
        rows = [
            row | {"tasks": m.tasks, "root": m.root_variable, "assets": m.assets}
            for row, m in zip(rows, shipped, strict=True)
        ]
    show("manifests", rows, as_json=as_json)


def show_manifest(name_or_file: str, root: Path | None, *, as_json: bool) -> None:
    """Resolve a manifest and print counts per task and split, or the rows as JSON."""
    manifest = load(name_or_file)
    rows = resolve(manifest, root)
    seconds = _durations(rows)
    for source, value in seconds.items():
        if value is None:
            say(f"{source}: does not say how long it is; is it a video?")
    say_orphans(manifest, root, rows)
    if as_json:
        show("", [_document(row, seconds) for row in rows], as_json=True)
        return
    show(f"{manifest.title} in {root_of(manifest, root)}", counts(rows, seconds))


def say_orphans(manifest: Manifest, root: Path | None, rows: list[Row]) -> None:
    """Mention the annotations that no video was found for."""
    paths = orphans(manifest, root, rows)
    if paths:
        few = ", ".join(map(str, paths[:FEW])) + (", ..." if len(paths) > FEW else "")
        say(f"no video for {len(paths)} annotation{'s' * (len(paths) > 1)}: {few}")


def counts(rows: list[Row], seconds: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Rows, annotated rows, subjects and hours of video, per task and split.

    Parameters
    ----------
    rows : a resolved manifest
    seconds : source -> duration; a video with two faces counts once in a group's hours
    """
    tasks = dict.fromkeys(task for row in rows for task in row.split)
    return [
        {
            "task": task,
            "split": split,
            "rows": len(group),
            "annotated": sum(task in row.annotations for row in group),
            "subjects": len({row.subject for row in group}),
            "hours": sum(seconds[source] or 0 for source in {row.source for row in group}) / 3600,
        }
        for task in tasks
        for split in SPLITS
        if (group := [row for row in rows if row.split[task] == split])
    ]


def _durations(rows: list[Row]) -> dict[str, float | None]:
    paths = {row.source: row.path for row in rows}
    found = {}
    with Progress("reading durations", len(paths), "videos") as progress:
        for source, path in paths.items():
            found[source] = seconds_of(path)
            progress.advance()
    return found


def _document(row: Row, seconds: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        "id": row.id,
        "path": str(row.path),
        "source": row.source,
        "face": row.face,
        "subject": row.subject,
        "split": dict(row.split),
        "annotations": {task: str(path) for task, path in row.annotations.items()},
        "seconds": seconds[row.source],
    }
