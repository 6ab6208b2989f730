"""The seal: size and sha256 of every file of a cache, and the root's copy of all metadata.

The documents are made and read here as pure functions; `affcache.store` writes them to a folder.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from affcache.arrays import Readable, group_document, json_bytes, read_object
from affcache.errors import CacheError
from affcache.schema import FORMAT_VERSION
from affcache.zips import safe_name

PRIVATE = ".affcache"
SEAL = f"{PRIVATE}/seal.json"
NOTES = f"{PRIVATE}/seals"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Sealed(NamedTuple):
    """What a seal says of one file: its length in bytes, and the sha256 of them as hex."""

    size: int
    sha256: str


class Known(Protocol):
    """Whatever knows a file's length and hash, such as `Sealed`."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def sha256(self) -> str:
        """Of its bytes, as hex."""


def seal_bytes(files: Mapping[str, Known]) -> bytes:
    """The seal's document, spelled as `arrays.json_bytes` does, with no object for every file."""
    spelled = io.BytesIO()
    spelled.write(b'{\n "files": {')
    between = ""
    for name in sorted(files):
        file = files[name]
        entry = f'{{\n   "bytes": {file.size},\n   "sha256": "{file.sha256}"\n  }}'
        spelled.write(f"{between}\n  {json.dumps(name)}: {entry}".encode())
        between = ","
    end = "\n }" if files else "}"
    spelled.write(f'{end},\n "format_version": {FORMAT_VERSION}\n}}'.encode())
    return spelled.getvalue()


def read_seal(where: Readable) -> dict[str, Sealed]:
    """What a place's seal says of its files, sorted by name.

    Raises
    ------
    CacheError
        If there is no seal, it is not one, or it names what cannot lie inside a cache.
    """
    return sealed_in(read_object(where, SEAL), f"{where.path}/{SEAL}")


def sealed_in(seal: Mapping[str, Any], at: str) -> dict[str, Sealed]:
    """What a seal's document says, sorted by name; an error names the document."""
    listed = seal.get("files")
    if not isinstance(listed, dict) or seal.get("format_version") != FORMAT_VERSION:
        raise CacheError(f"{at}: is not a seal of format version {FORMAT_VERSION}")
    found = {}
    for name, entry in sorted(listed.items()):
        sealed = _sealed(entry)
        if sealed is None or not safe_name(name) or name.startswith(f"{PRIVATE}/"):
            raise CacheError(f"{at}: what it says of {name!r:.80} is not the seal of a file")
        found[name] = sealed
    return found


def _sealed(entry: object) -> Sealed | None:
    if not isinstance(entry, dict):
        return None
    size, digest = entry.get("bytes"), entry.get("sha256")
    if type(size) is not int or size < 0 or not isinstance(digest, str):
        return None
    return Sealed(size, digest) if _SHA256.fullmatch(digest) else None


def consolidated(
    attributes: Mapping[str, Any],
    members: Iterable[str],
    document: Callable[[str], Mapping[str, Any]],
) -> Iterator[bytes]:
    """The root's metadata with a copy of everybody's, so that one read opens the whole.

    It comes piece by piece as `arrays.json_bytes` spells it: with thousands of videos it is more
    than a hundred megabytes, and several times that as objects.

    Parameters
    ----------
    attributes : the root group's
    members : paths below the root of every other group and array
    document : gives the metadata of one of them
    """
    copy = {"kind": "inline", "must_understand": False, "metadata": None}
    root = json_bytes({**group_document(attributes), "consolidated_metadata": copy})
    before, _, after = root.rpartition(b"null")  # the keys behind hold no such word
    yield before + b"{"
    between = b""
    for path in sorted(members):
        spelled = json_bytes({path: document(path)}).removeprefix(b"{").removesuffix(b"\n}")
        yield between + spelled.replace(b"\n", b"\n  ")
        between = b","
    yield (b"\n  }" if between else b"}") + after
