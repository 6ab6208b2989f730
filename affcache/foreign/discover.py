"""Which file, and which group of it, is which video: a template with {id} held against a folder."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from affcache.errors import ForeignError
from affcache.foreign.spec import Files
from affcache.schema import is_safe_id

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One video's rows: a file and, in HDF5, a group of it ("" is its root)."""

    id: str
    path: Path
    group: str


def find_sources(files: Files, root: Path) -> list[Source]:
    """Every video of a folder, by id.

    Raises
    ------
    ForeignError
        If there is none, two files have one id, or an id is no safe folder name.
    """
    if not root.is_dir():
        raise ForeignError(f"{root}: is not a folder; give the one that {files.files!r} lies in")
    if "{id}" in files.files:
        found = [
            Source(id=video_id, path=root / name, group=files.group)
            for name in _files_like(root, files.files.replace("{id}", "*"))
            for video_id in _ids([name], files.files)
        ]
    else:
        found = [
            Source(id=video_id, path=root / name, group=files.group.replace("{id}", video_id))
            for name in _files_like(root, files.files)
            for video_id in _ids_inside(root / name, files.group)
        ]
    _check(found, files, root)
    return sorted(found, key=lambda source: source.id)


def find_one(files: Files, root: Path, video_id: str) -> Source | None:
    """The one source of a video, None where there is none."""
    pattern = files.files.replace("{id}", glob.escape(video_id))
    names = _files_like(root, pattern)
    if len(names) > 1:
        raise ForeignError(f"{root}: {names[0]} and {names[1]} both are {files.files!r}")
    if not names:
        return None
    source = Source(id=video_id, path=root / names[0], group=files.group.replace("{id}", video_id))
    if source.group:
        from affcache.foreign.hdf5group import has

        return source if has(source.path, source.group) else None
    return source


def where_of(files: Files, video_id: str) -> str:
    """What a video's source is called, for messages."""
    inside = f", {files.group}" if files.group else ""
    return f"{files.files}{inside}".replace("{id}", video_id)


def _ids_inside(path: Path, template: str) -> list[str]:
    """The ids of a file's groups, or of its arrays where no group fits."""
    from affcache.foreign.hdf5group import members

    groups, arrays = members(path)
    found = _ids(groups, template) or _ids(arrays, template)
    if not found:
        there = ", ".join([*groups, *arrays][:SHOWN]) or "nothing"
        raise ForeignError(f"{path}: no group or array fits {template!r}; it holds {there}")
    return found


def _files_like(root: Path, pattern: str) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.glob(pattern) if p.is_file())


def _ids(names: Iterable[str], template: str) -> list[str]:
    """The ids in names that fit a template; * stands for anything within a folder's name."""
    parts = re.split(r"(\{id\}|\*|\?)", template)
    known = {"{id}": "(?P<id>[^/]+)", "*": "[^/]*", "?": "[^/]"}
    pattern = re.compile("".join(known.get(part, re.escape(part)) for part in parts))
    return [found["id"] for name in names if (found := pattern.fullmatch(name))]


def _check(found: list[Source], files: Files, root: Path) -> None:
    if not found:
        there = sorted(p.name for p in root.iterdir())[:SHOWN]
        says = ", ".join(there) or "nothing"
        raise ForeignError(f"{root}: nothing fits {files.files!r}; it holds {says}")
    seen: dict[str, Source] = {}
    for source in found:
        if not is_safe_id(source.id):
            raise ForeignError(
                f"{source.path}: {source.id!r:.80} cannot be a video's id (letters, digits, '.', "
                "'_' and '-'); rename it"
            )
        if source.id in seen:
            raise ForeignError(f"{source.path} and {seen[source.id].path} both are {source.id!r}")
        seen[source.id] = source
