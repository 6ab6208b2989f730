"""The tables of `affcache ls` and `affcache info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from affcache.progress import readable_bytes
from affcache.store import Cache
from affcache.summary import describe, video_rows
from affcache.table import show


def list_videos(path: Path, *, as_json: bool) -> None:
    """Print one row a video."""
    rows = video_rows(Cache(path))
    if not as_json:
        rows = [row | _for_people(row) for row in rows]
    if rows or as_json:
        show(f"{path}: {len(rows)} videos", rows, as_json=as_json)
    else:
        click.echo(f"{path}: no videos yet")


def show_cache(path: Path, *, as_json: bool) -> None:
    """Print what a cache is, what is in its arrays, and what is annotated."""
    said = describe(Cache(path))
    if as_json:
        click.echo(json.dumps(said, indent=2))
        return
    show(f"{path}: {said['dataset']}", [{"what": k, "value": v} for k, v in _facts(said)])
    arrays = [
        {"array": name, **entry, "width": " x ".join(map(str, entry["width"])) or "1"}
        for name, entry in said["arrays"].items()
    ]
    if arrays:
        show("arrays of a video", arrays)
    if said["coverage"]:
        show("labels", said["coverage"])
    else:
        click.echo("no labels (write them with `affcache label`)")


def _facts(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    frames, face = said["frames"], said["face"]
    yield "kind", f"{said['kind']}, {'sealed' if said['sealed'] else 'not sealed'}"
    yield "size", readable_bytes(said["bytes"])
    yield "videos", f"{said['videos']}, of {said['subjects']} subjects"
    yield "frames", f"{frames} ({said['hours']:.2f} hours)"
    yield "with a face", f"{face} ({face / frames:.1%})" if frames else "0"
    yield "pseudo-labels", ", ".join(said["pseudo"]) or "none but the backbone's"
    yield "format version", str(said["format_version"])
    yield "fingerprint", said["fingerprint"]
    for name in ("fields", "provenance"):
        for key, value in _flat(said[name]):
            yield f"{name}: {key}", value


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            text = inner if isinstance(inner, str) else json.dumps(inner)
            yield f"{prefix}{key}", text if len(text) <= 100 else f"{text[:97]}..."


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    splits = set(row["split"].values())
    named = [f"{task} {name}" for task, name in row["split"].items()]
    return {
        "tasks": ", ".join(f"{task} {count}" for task, count in row["tasks"].items()) or "-",
        "split": str(*splits) if len(splits) == 1 else ", ".join(named) or "-",
        "subject": row["subject"] or "-",
        "bytes": readable_bytes(row["bytes"]),
    }
