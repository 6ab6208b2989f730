"""What a copy of a cache would hold: its files with size and sha256, and where their bytes are.

Packing, unpacking, taking a part and sending it elsewhere are all "write these contents
somewhere". The bytes are checked against their sha256 while they are read, so a copy of a damaged
file is refused by name and never made.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affcache import notes
from affcache.arrays import METADATA, is_debris, parsed_object
from affcache.copying.selection import EVERYTHING, Selection, check_names, is_kept, selected_videos
from affcache.errors import CacheError
from affcache.places import Place
from affcache.progress import Progress, say
from affcache.seals import PRIVATE, SEAL, Sealed, consolidated, seal_bytes
from affcache.store import Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a copy.

    Attributes
    ----------
    size : its length in bytes
    sha256 : of its bytes, as hex
    origin : the place whose file of the same name it is, or its very bytes where it is made anew
    """

    size: int
    sha256: str
    origin: Place | bytes

    @classmethod
    def made(cls, data: bytes) -> File:
        """A file that no source has in this form."""
        return cls(size=len(data), sha256=hashlib.sha256(data).hexdigest(), origin=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A sealed cache that is not written yet.

    Attributes
    ----------
    files : by name, sorted, the seal last: where the seal is, everything else is, too
    """

    files: Mapping[str, File]

    @property
    def size(self) -> int:
        """All files' bytes."""
        return sum(file.size for file in self.files.values())

    @property
    def videos(self) -> list[str]:
        """Ids of the videos, sorted."""
        parts = (name.split("/") for name in self.files)
        return [p[1] for p in parts if p[0] == "videos" and len(p) == 3 and p[2] == METADATA]

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, block by block, checked against size and sha256 as they go by.

        Raises
        ------
        CacheError
            If the source has other bytes than its seal says; never more bytes than that are given.
        """
        file = self.files[name]
        if isinstance(file.origin, bytes):
            yield file.origin
            return
        left, found = file.size, hashlib.sha256()
        for block in file.origin.blocks(name):
            left -= len(block)
            if left < 0:
                break
            found.update(block)
            yield block
        if left or found.hexdigest() != file.sha256:
            raise CacheError(
                f"{file.origin.path}: {name} is not what the seal says it was; run "
                "`affcache verify`, and extract or fetch that video again"
            )

    def read(self, name: str) -> bytes:
        """A small file's bytes, checked."""
        return b"".join(self.blocks(name))

    def document(self, name: str) -> dict[str, Any]:
        """The metadata of a group or an array, checked."""
        return parsed_object(self.read(name), name)

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of a group or an array, checked."""
        attributes = self.document(name).get("attributes", {})
        if not isinstance(attributes, dict):
            raise CacheError(f"{name}: attributes are not an object")
        return attributes


def contents(cache: Cache, selection: Selection = EVERYTHING) -> Contents:
    """A cache as it lies there, or a part of it.

    Parameters
    ----------
    cache : a folder or a zip; one without a seal is hashed first, and that is said
    selection : which videos, arrays and annotations

    Raises
    ------
    CacheError
        If the seal is not readable, or the selection names what is not there.
    """
    sealed = notes.read(cache.place)
    listed = sealed if sealed is not None else _hash(cache.place)
    if METADATA not in listed:
        raise CacheError(f"{cache.path}: its seal does not list {METADATA}; run `affcache verify`")
    check_names(selection, listed, cache.path)
    videos = set(selected_videos(cache, selection))
    files = {
        name: File(size=entry.size, sha256=entry.sha256, origin=cache.place)
        for name, entry in listed.items()
        if selection == EVERYTHING or is_kept(name, videos, selection)
    }
    if sealed is not None and selection == EVERYTHING:
        return assembled(files, None)
    return assembled(files, root_of(cache, selection))


def assembled(files: Mapping[str, File], root: Mapping[str, Any] | None) -> Contents:
    """Contents with a seal, and with the root's metadata made anew where attributes are given.

    Parameters
    ----------
    files : everything but the seal
    root : the root group's attributes; None if `files` has the right metadata
    """
    if root is not None:
        files = {name: file for name, file in files.items() if name != METADATA}
        members = [n.removesuffix(f"/{METADATA}") for n in files if n.endswith(f"/{METADATA}")]
        read = Contents(files=files).document
        copy = io.BytesIO()
        copy.writelines(consolidated(root, members, lambda group: read(f"{group}/{METADATA}")))
        files[METADATA] = File.made(copy.getvalue())
    files = dict(sorted(files.items()))
    files[SEAL] = File.made(seal_bytes(files))
    return Contents(files=files)


def root_of(cache: Cache, selection: Selection = EVERYTHING) -> dict[str, Any]:
    """A root group's attributes; a part says in its provenance what it is a part of."""
    header = dict(cache.header)
    if selection != EVERYTHING:
        provenance = dict(header.get("provenance", {}))
        earlier = provenance.get("selections", [])
        parts = [*(earlier if isinstance(earlier, list) else []), selection.described()]
        header["provenance"] = provenance | {"selections": parts}
    return cache.attributes | {"affcache": header}


def _hash(where: Place) -> dict[str, Sealed]:
    """What a seal would say of a cache that has none."""
    names = [n for n in where.files() if not n.startswith(f"{PRIVATE}/") and not is_debris(Path(n))]
    say(f"{where.path}: has no seal, so its files are hashed as they lie there")
    found = {}
    with Progress("hashing", sum(map(where.size, names)), "bytes") as progress:
        for name in names:
            digest = hashlib.sha256()
            for block in where.blocks(name):
                digest.update(block)
                progress.advance(len(block))
            found[name] = Sealed(where.size(name), digest.hexdigest())
    return found
