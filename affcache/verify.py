"""Is a cache what it was when it was sealed, and does it keep the format's promises?

Three layers: every file against the seal (size, sha256), every array against the schema (type,
dimensions, one chunk, checksum, equal rows), every video against its fingerprint and itself
(missing values where there is no face, time increasing). Nothing is decoded by other libraries
and nothing is trusted before its size is known.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affcache import notes
from affcache.arrays import METADATA, chunk_key, json_bytes, map_array, read_object
from affcache.digests import Digest, digests, size_of
from affcache.errors import CacheError
from affcache.places import FolderPlace, Place, ZipPlace
from affcache.progress import Progress
from affcache.promises import broken_promises
from affcache.publish import video_fingerprint
from affcache.schema import (
    LABEL_ARRAYS,
    PSEUDO_ARRAYS,
    REQUIRED_ARRAYS,
    VIDEO_ARRAYS,
    ArraySpec,
    is_safe_id,
)
from affcache.seals import SEAL, consolidated, seal_bytes
from affcache.store import (
    PRIVATE,
    Cache,
    Video,
    fingerprint,
    unseal,
)
from affcache.threads import spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    kind : what sort of fault, one of the words of `affcache verify --help`
    where : the file or group, relative to the cache
    video : the video it belongs to, "" where it is the whole cache's
    array : the array it belongs to, "" where it is the whole video's
    detail : what was found and what was expected
    """

    kind: str
    where: str
    video: str = ""
    array: str = ""
    detail: str

    def row(self) -> dict[str, Any]:
        """The fault as a table's row."""
        return asdict(self)


def verify(path: Path, *, quick: bool = False) -> list[Fault]:
    """Every fault of a cache, an empty list if there is none.

    Parameters
    ----------
    path : the cache's folder
    quick : look at sizes and metadata; bytes that changed in place are not seen

    Raises
    ------
    CacheError
        If there is no cache, or one of another format.
    """
    cache = Cache(path)
    files = cache.place.files()
    names = [name for name in files if not name.startswith(f"{PRIVATE}/")]
    read = None if quick else _read(cache.place, names)
    faults = [*_against_seal(cache.place, names, read or {}), *_strangers(cache.place, files)]
    faults += _copy(cache, names, {fault.where for fault in faults})
    header = cache.header
    if fingerprint(header.get("fields", {})) != header.get("fingerprint"):
        faults.append(Fault(kind="fingerprint", where=METADATA, detail="not that of its fields"))
    beside = _beside(cache)
    for found in spread(lambda video: list(_video(cache, video, beside, read)), cache.videos()):
        faults += found
    return sorted(faults, key=lambda fault: (fault.video, fault.array, fault.where, fault.kind))


def repair(path: Path, faults: list[Fault]) -> list[str]:
    """Move what is broken out of the way, so that the next `extract` makes it again.

    Nothing is deleted: groups go to `.affcache/quarantine/`. The seal steps aside, because the
    cache is no longer whole.

    Returns
    -------
    list of str
        The groups that were moved, relative to the cache.
    """
    if path.is_file():
        raise CacheError(f"{path}: is a packed file, which is not repaired; fetch or pack it again")
    quarantine = path / PRIVATE / "quarantine"
    groups = sorted(
        {"/".join(f.where.split("/")[: _depth(f.where) + 1]) for f in faults if f.video}
    )
    FolderPlace(path).refuse_links(within=groups)
    moved = [group for group in groups if os.path.lexists(path / group)]
    for group in moved:
        target = quarantine / f"{group.replace('/', '+'):.200}.{time.time_ns()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (path / group).rename(target)
    if moved:
        unseal(path)
    return moved


def _depth(where: str) -> int:
    """How many groups lie above a video's in a path inside the cache; -1 outside of all videos."""
    return {"videos": 1, "labels": 1, "pseudo": 2}.get(where.split("/")[0], -1)


def _read(where: Place, names: list[str]) -> dict[str, Digest]:
    """Every file's digest, with progress."""
    lock = threading.Lock()
    with Progress("verifying", sum(size_of(where, name) for name in names), "bytes") as progress:

        def count(read: int) -> None:
            with lock:
                progress.advance(read)

        return digests(where, names, count)


def _against_seal(where: Place, names: list[str], read: Mapping[str, Digest]) -> Iterator[Fault]:
    try:
        seals = notes.survey(where)
        edited = seals.whole is not None and seal_bytes(seals.whole) != where.read(SEAL)
        files = notes.gathered(where, seals)
    except CacheError as error:
        yield Fault(kind="seal", where=SEAL, detail=f"not readable: {error}")
        return
    if files is None:
        yield Fault(kind="unsealed", where=SEAL, detail="there is no seal")
        return
    if edited:
        yield Fault(kind="seal", where=SEAL, detail="was edited")
    present = set(names)
    for name in sorted(files.keys() | present):
        if name not in present:
            yield _file_fault("missing", name, "is in the seal, but not in the cache")
        elif name not in files:
            yield _file_fault("unlisted", name, "is in the cache, but not in the seal")
        else:
            yield from _file(where, name, *files[name], read.get(name))


def _strangers(where: Place, files: list[str]) -> Iterator[Fault]:
    """What is in no cache: unsafe names, links, devices, empty folders, a zip's headers changed."""
    if isinstance(where, ZipPlace) and not where.is_as_packed():
        detail = "what lies between its files is not what `affcache pack` writes; pack it again"
        yield Fault(kind="zip", where=where.path.name, detail=detail)
    for group in ("videos", "labels"):
        for name in set(where.members(group)) - {METADATA}:
            if not is_safe_id(name):
                yield Fault(
                    kind="id", where=f"{group}/{name}", video=name, detail="not a safe folder name"
                )
    strangers = where.strangers() if isinstance(where, FolderPlace) else {}
    for name in files:
        if name.startswith(f"{PRIVATE}/") and name not in strangers and not _is_intact(where, name):
            yield _file_fault("bytes", name, "was edited")
    for name, kind in strangers.items():
        if kind != "empty":
            yield _file_fault("link", name, f"is a {kind}")
        elif not name.startswith(PRIVATE):
            yield _file_fault("unlisted", name, "is an empty folder")


def _is_intact(where: Place, name: str) -> bool:
    """Whether a file that no seal covers is as it was written: an empty lock, a failure's note."""
    if name.endswith(".lock"):
        return where.size(name) == 0
    if not name.startswith(f"{PRIVATE}/failed/"):
        return True  # what is being written, or was moved away
    try:
        note = read_object(where, name)
        as_written = json_bytes(note) == where.read(name)
        return as_written and note.pop("sha256") == fingerprint(note)
    except (CacheError, KeyError, ValueError):
        return False


def _copy(cache: Cache, names: list[str], broken: set[str]) -> Iterator[Fault]:
    """The root's copy of all metadata, by which other programs open a cache, must be one.

    Parameters
    ----------
    names : of all files
    broken : those whose own fault is known
    """
    there = {name for name in names if name.endswith(f"/{METADATA}")}
    if _is_copied(cache, there):
        return
    copy = read_object(cache.place, METADATA).get("consolidated_metadata")
    if copy is None:
        return
    said = copy.get("metadata") if isinstance(copy, dict) else None
    said = said if isinstance(said, dict) else {}
    said = {f"{group}/{METADATA}": document for group, document in said.items()}
    for name in sorted((there | said.keys()) - broken):
        try:
            same = name in there and said.get(name) == read_object(cache.place, name)
        except (CacheError, OSError):
            continue  # a fault of its own
        if not same:
            detail = f"its copy of {name} is another"
            yield Fault(kind="metadata", where=METADATA, detail=detail)


def _is_copied(cache: Cache, names: Collection[str]) -> bool:
    """Whether the root is, byte by byte, as it is sealed: told without its copy as objects."""
    groups = [name.removesuffix(f"/{METADATA}") for name in names]

    def document(group: str) -> Mapping[str, Any]:
        return read_object(cache.place, f"{group}/{METADATA}")

    want, have = hashlib.sha256(), hashlib.sha256()
    try:
        for piece in consolidated(cache.attributes, groups, document):
            want.update(piece)
    except (CacheError, OSError):
        return False
    for block in cache.place.blocks(METADATA):
        have.update(block)
    return want.digest() == have.digest()


def _file(where: Place, name: str, size: int, sha256: str, read: Digest | None) -> Iterator[Fault]:
    try:
        have = where.size(name)
    except CacheError:  # a link: `_strangers` says so
        return
    if have != size:
        yield _file_fault("size", name, f"{have} bytes, sealed with {size}")
    elif read is not None and read.trouble:
        yield _file_fault("bytes", name, read.trouble)
    elif read is not None and read.sha256 != sha256:
        yield _file_fault("bytes", name, f"sha256 {read.sha256:.12}, sealed {sha256:.12}")


def _file_fault(kind: str, name: str, detail: str) -> Fault:
    inside = name.split("/")[_depth(name) :] if _depth(name) > 0 else []
    return Fault(
        kind=kind,
        where=name,
        video=inside[0] if len(inside) > 1 or (kind == "link" and inside) else "",
        array=inside[1] if len(inside) > 2 else "",
        detail=detail,
    )


def _video(
    cache: Cache,
    video: Video,
    groups: list[tuple[str, dict[str, ArraySpec]]],
    read: Mapping[str, Digest] | None,
) -> Iterator[Fault]:
    """Faults of one video: its own arrays, and everything that lies beside it under its id."""
    name = f"videos/{video.id}"
    fields = cache.header.get("fields", {})
    try:
        mine = video.attributes
        want = video_fingerprint(fields, str(mine.get("face")), str(mine.get("source_sha256")))
        if mine.get("fingerprint") != want:
            detail = "its fingerprint is not that of the cache, its face and its source"
            yield Fault(kind="fingerprint", where=name, video=video.id, detail=detail)
        streams = {str(s) for s in (*cache.header.get("streams", ()), *fields.get("streams", ()))}
        arrays = [a for a in video.place.members(name) if video.has(a)]
    except (CacheError, OSError, TypeError) as error:
        yield Fault(kind="metadata", where=name, video=video.id, detail=str(error))
        return
    for missing in sorted(set(REQUIRED_ARRAYS) - set(arrays)):
        detail = "a required array is missing"
        yield Fault(kind="schema", where=name, video=video.id, array=missing, detail=detail)
    maps: dict[str, np.ndarray] = {}
    for array in sorted(arrays):
        spec = VIDEO_ARRAYS.get(array)
        if spec is None and array not in streams:
            detail = "neither in the schema nor a stream of this cache"
            yield Fault(kind="schema", where=name, video=video.id, array=array, detail=detail)
        yield from _array(video, f"{name}/{array}", spec, maps, read or {})
    if set(REQUIRED_ARRAYS) <= set(maps):
        yield from _consistency(video, maps, values=read is not None)
    rows = len(maps["valid"]) if "valid" in maps else None
    for group, specs in groups:
        beside = f"{group}/{video.id}"
        for array in cache.place.members(beside):
            if cache.place.has(f"{beside}/{array}/{METADATA}"):
                spec = specs.get(array)
                yield from _array(video, f"{beside}/{array}", spec, {}, read or {}, rows=rows)


def _beside(cache: Cache) -> list[tuple[str, dict[str, ArraySpec]]]:
    return [
        ("labels", LABEL_ARRAYS),
        *((f"pseudo/{name}", PSEUDO_ARRAYS) for name in cache.pseudo_names()),
    ]


def _array(
    video: Video,
    where: str,
    spec: ArraySpec | None,
    maps: dict[str, np.ndarray],
    read: Mapping[str, Digest],
    *,
    rows: int | None = None,
) -> Iterator[Fault]:
    """Map one array (into `maps`) if it is what it should be; otherwise say what it is."""
    name = where.rsplit("/", 1)[-1]

    def fault(kind: str, detail: str) -> Fault:
        return Fault(kind=kind, where=where, video=video.id, array=name, detail=detail)

    try:
        array = map_array(video.place, where)
        dims = read_object(video.place, f"{where}/{METADATA}").get("dimension_names")
    except (CacheError, OSError) as error:
        yield fault("metadata", str(error))
        return
    if spec is not None and not _fits(array, dims, spec):
        detail = f"{array.dtype} {array.shape} {dims}, expected {spec.dtype} {spec.dims}"
        yield fault("schema", detail)
        return
    if rows is not None and len(array) != rows:
        yield fault("rows", f"{len(array)} rows beside {rows} frames")
    chunk = read.get(f"{where}/{chunk_key(array.ndim)}")
    if chunk is not None and not chunk.checksum_holds:
        yield fault("checksum", "the data does not have its crc32c checksum")
    maps[name] = array


def _fits(array: np.ndarray, dims: object, spec: ArraySpec) -> bool:
    return (
        array.dtype == np.dtype(spec.dtype).newbyteorder("<")
        and dims == list(spec.dims)
        and array.ndim == len(spec.dims)
        and all(w in (None, h) for w, h in zip(spec.sizes, array.shape[1:], strict=True))
    )


def _consistency(video: Video, maps: dict[str, np.ndarray], *, values: bool) -> Iterator[Fault]:
    where = f"videos/{video.id}"
    lengths = {name: len(array) for name, array in maps.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        detail = f"arrays of {lengths} rows"
        yield Fault(kind="rows", where=where, video=video.id, detail=detail)
        return
    for name, promise in broken_promises(video.place, where, maps) if values else ():
        detail = f"broken promise: {promise}"
        yield Fault(kind="values", where=where, video=video.id, array=name, detail=detail)
