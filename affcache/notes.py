"""Notes: the seal of a place that many people add to, in many small documents.

`.affcache/seal.json` covers a whole cache; whoever is alone with it writes it. Where several people
add to one place there is no such moment, so there each group (a video, its annotations, its
pseudo-labels) is sealed by a note of its own: `.affcache/seals/<group>+<digest>.json`. Nobody ever
writes another's note, and the digest of what a group holds can be read from a listing alone.

Convention: the two together are the seal, and for its group a note overrides seal.json. A group is
there only if its own zarr.json is sealed. `affcache.store.seal` folds notes into one document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from affcache.arrays import METADATA, Readable, parsed_object
from affcache.errors import CacheError
from affcache.schema import is_safe_id
from affcache.seals import NOTES, SEAL, Sealed, seal_bytes, sealed_in
from affcache.zips import safe_name

DIGEST_CHARACTERS = 32
FOLDERS = ("videos", "labels", "pseudo")
_DEPTH = {"videos": 1, "labels": 1, "pseudo": 2}
_NOTE = re.compile(rf"(.+)\+([0-9a-f]{{{DIGEST_CHARACTERS}}})\.json")


Files = Mapping[str, Sealed]


class Shelf(Readable, Protocol):
    """Anything with files under names: a cache's folder or zip, or a folder behind a URL."""

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seals:
    """What a place has sealed, as far as it is known without reading the notes.

    Attributes
    ----------
    whole : what seal.json says, None if there is none
    groups : the same, sorted into groups
    notes : group -> digests of its notes (more than one: different content was put there)
    """

    whole: Files | None
    groups: Mapping[str, Files]
    notes: Mapping[str, tuple[str, ...]]

    def digests(self) -> dict[str, set[str]]:
        """Group -> the digest of its files, of every group that is there."""
        found = {group: {digest(files)} for group, files in self.groups.items()}
        found |= {group: set(digests) - {EMPTY} for group, digests in self.notes.items()}
        return {group: digests for group, digests in found.items() if digests}


def survey(where: Shelf) -> Seals:
    """Look at a place's seals: one listing, and seal.json if there is one.

    Raises
    ------
    CacheError
        If seal.json is not a seal.
    """
    whole = None
    if where.has(SEAL):
        whole = _files(where.read(SEAL), f"{where.path}/{SEAL}")
    notes: dict[str, list[str]] = {}
    for folder in (NOTES, *(f"{NOTES}/{kind}" for kind in _DEPTH)):
        for name in where.members(folder):
            _admit(notes, f"{folder}/{name}")
    for pseudo in where.members(f"{NOTES}/pseudo"):
        if is_safe_id(pseudo):
            for name in where.members(f"{NOTES}/pseudo/{pseudo}"):
                _admit(notes, f"{NOTES}/pseudo/{pseudo}/{name}")
    listed = {group: tuple(sorted(digests)) for group, digests in notes.items()}
    return Seals(whole=whole, groups=by_group(whole or {}), notes=listed)


def group_files(where: Shelf, seals: Seals, group: str) -> Files:
    """What one group's files must be; empty if the group is not there.

    Raises
    ------
    CacheError
        If its note is damaged, edited or names files of another group, or if there are two.
    """
    digests = [d for d in seals.notes.get(group, ()) if d != EMPTY]
    if len(digests) > 1:
        raise CacheError(
            f"{where.path}: {group or 'the root'} was sealed with different content by different "
            "people; push the one that is right again with --force"
        )
    if group not in seals.notes:
        return seals.groups.get(group, {})
    return read_note(where, group, digests[0]) if digests else {}


def read_note(where: Shelf, group: str, digest_: str) -> Files:
    """The files that one note seals, held against the note's name."""
    name = note_name(group, digest_)
    data = where.read(name)
    files = _files(data, f"{where.path}/{name}")
    if (
        data != seal_bytes(files)
        or digest(files) != digest_
        or any(group_of(file) != group for file in files)
        or (files and METADATA not in {file.removeprefix(f"{group}/") for file in files})
    ):
        raise CacheError(f"{where.path}/{name}: is damaged or was edited; remove it and push again")
    return files


def read(where: Shelf) -> Files | None:
    """Everything that is sealed at a place, None if there is no seal at all.

    Raises
    ------
    CacheError
        If a seal is damaged, or two contradict each other.
    """
    return gathered(where, survey(where))


def gathered(where: Shelf, seals: Seals) -> Files | None:
    """The same of a place that was looked at already."""
    if seals.whole is None and not seals.notes:
        return None
    files = {n: e for n, e in (seals.whole or {}).items() if group_of(n) not in seals.notes}
    for group in seals.notes:
        files |= group_files(where, seals, group)
    return files


def by_group(files: Files) -> dict[str, dict[str, Sealed]]:
    """Files sorted into the groups that are there; what belongs to no group is left out."""
    groups: dict[str, dict[str, Sealed]] = {}
    for name, entry in files.items():
        group = group_of(name)
        if group is not None:
            groups.setdefault(group, {})[name] = entry
    return {g: found for g, found in groups.items() if f"{g}/{METADATA}".lstrip("/") in found}


def group_of(name: str) -> str | None:
    """The group that a file belongs to ("" is the root), None if a cache has no such file.

    >>> group_of("videos/v1/features/c/0/0"), group_of("videos/zarr.json"), group_of("thesis.tex")
    ('videos/v1', 'videos', None)
    """
    parts = name.split("/")
    if name == METADATA:
        return ""
    if parts[0] not in _DEPTH or len(parts) < 2 or not safe_name(name):
        return None
    depth = _DEPTH[parts[0]] + 1
    group, inside = parts[: min(depth, len(parts) - 1)], parts[min(depth, len(parts) - 1) :]
    if not all(is_safe_id(part) for part in group) or (len(group) < depth and inside != [METADATA]):
        return None
    return "/".join(group)


def is_folder(group: str) -> bool:
    """Whether a group only holds other groups: `videos`, `labels`, `pseudo`, `pseudo/<name>`."""
    return group in FOLDERS or (group.startswith("pseudo/") and group.count("/") == 1)


def digest(files: Files) -> str:
    """What a group holds, as one short hash: equal digests mean equal bytes."""
    return hashlib.sha256(seal_bytes(files)).hexdigest()[:DIGEST_CHARACTERS]


def note_name(group: str, digest_: str) -> str:
    """Where the note of a group lies."""
    return f"{NOTES}/{group or 'root'}+{digest_}.json"


def _admit(notes: dict[str, list[str]], name: str) -> None:
    match = _NOTE.fullmatch(name.removeprefix(f"{NOTES}/"))
    if match:
        group = "" if match[1] == "root" else match[1]
        if not group or group_of(f"{group}/{METADATA}") == group:
            notes.setdefault(group, []).append(match[2])


def _files(data: bytes, at: str) -> dict[str, Sealed]:
    files = sealed_in(parsed_object(data, at), at)
    for name in files:
        parts = name.split("/")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            raise CacheError(f"{at}: {name!r:.80} lies inside of a file")
    return files


EMPTY = digest({})
