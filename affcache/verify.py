"""Is a cache what it was when it was sealed, and does it keep the format's promises?

Three layers: every file against the seal (size, sha256), every array against the schema (type,
dimensions, one chunk, checksum, equal rows), every video against its fingerprint and itself
(missing values where there is no face, time increasing). Nothing is decoded by other libraries
and nothing is trusted before its size is known.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from affcache import notes
from affcache.arrays import CRC_BYTES, METADATA, chunk_key, json_bytes, map_array, read_object
from affcache.errors import CacheError
from affcache.places import Place
from affcache.progress import Progress
from affcache.publish import video_fingerprint
from affcache.schema import (
    FACE_ARRAYS,
    LABEL_ARRAYS,
    PSEUDO_ARRAYS,
    REQUIRED_ARRAYS,
    VIDEO_ARRAYS,
    ArraySpec,
    is_safe_id,
)
from affcache.seals import SEAL
from affcache.store import (
    PRIVATE,
    Cache,
    Video,
    fingerprint,
    unseal,
)

BLOCK_BYTES = 1 << 20


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
    quick : compare the files' sizes but not their bytes

    Raises
    ------
    CacheError
        If there is no cache, or one of another format.
    """
    cache = Cache(path)
    faults = [*_against_seal(cache.place, quick=quick)]
    header = cache.header
    if fingerprint(header.get("fields", {})) != header.get("fingerprint"):
        faults.append(Fault(kind="fingerprint", where=METADATA, detail="not that of its fields"))
    videos = cache.videos()
    with Progress("verifying", len(videos), "videos") as progress:
        for video in videos:
            faults += _video(cache, video, quick=quick)
            progress.advance(note=video.id)
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
    quarantine = path / PRIVATE / "quarantine"
    groups = sorted(
        {"/".join(f.where.split("/")[: _depth(f.where) + 1]) for f in faults if f.video}
    )
    moved = [group for group in groups if os.path.lexists(path / group)]
    for group in moved:
        target = quarantine / f"{group.replace('/', '+')}.{time.time_ns()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (path / group).rename(target)
    if moved:
        unseal(path)
    return moved


def _depth(where: str) -> int:
    """How many groups lie above a video's in a path inside the cache; -1 outside of all videos."""
    return {"videos": 1, "labels": 1, "pseudo": 2}.get(where.split("/")[0], -1)


def _against_seal(where: Place, *, quick: bool) -> Iterator[Fault]:
    try:
        files = notes.read(where)
        edited = where.has(SEAL) and json_bytes(read_object(where, SEAL)) != where.read(SEAL)
    except CacheError as error:
        yield Fault(kind="seal", where=SEAL, detail=f"not readable: {error}")
        return
    if files is None:
        yield Fault(kind="unsealed", where=SEAL, detail="there is no seal")
        return
    if edited:
        yield Fault(kind="seal", where=SEAL, detail="was edited")
    present = {name for name in where.files() if not name.startswith(f"{PRIVATE}/")}
    for name in sorted(files.keys() | present):
        if name not in present:
            yield _file_fault("missing", name, "is in the seal, but not in the cache")
        elif name not in files:
            yield _file_fault("unlisted", name, "is in the cache, but not in the seal")
        else:
            yield from _file(where, name, *files[name], quick=quick)


def _file(where: Place, name: str, size: int, digest: str, *, quick: bool) -> Iterator[Fault]:
    try:
        have = where.size(name)
        if have != size:
            yield _file_fault("size", name, f"{have} bytes, sealed with {size}")
        elif not quick and (found := hashlib.sha256(where.map(name)).hexdigest()) != digest:
            yield _file_fault("bytes", name, f"sha256 {found:.12}, sealed {digest:.12}")
    except (CacheError, OSError) as error:
        yield _file_fault("link", name, str(error))


def _file_fault(kind: str, name: str, detail: str) -> Fault:
    inside = name.split("/")[_depth(name) :] if _depth(name) > 0 else []
    return Fault(
        kind=kind,
        where=name,
        video=inside[0] if len(inside) > 1 else "",
        array=inside[1] if len(inside) > 2 else "",
        detail=detail,
    )


def _video(cache: Cache, video: Video, *, quick: bool) -> Iterator[Fault]:
    """Faults of one video: its own arrays, and everything that lies beside it under its id."""
    name = f"videos/{video.id}"
    if not is_safe_id(video.id):
        yield Fault(kind="id", where=name, video=video.id, detail="not a safe folder name")
    fields = cache.header.get("fields", {})
    try:
        mine = video.attributes
        want = video_fingerprint(fields, str(mine.get("face")), str(mine.get("source_sha256")))
        if mine.get("fingerprint") != want:
            detail = "its fingerprint is not that of the cache, its face and its source"
            yield Fault(kind="fingerprint", where=name, video=video.id, detail=detail)
        streams = {str(s) for s in cache.header.get("streams", ())}
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
        yield from _array(video, f"{name}/{array}", spec, maps, quick=quick)
    if set(REQUIRED_ARRAYS) <= set(maps):
        yield from _consistency(video, maps)
    rows = len(maps["valid"]) if "valid" in maps else None
    for group, specs in _beside(cache):
        beside = f"{group}/{video.id}"
        for array in cache.place.members(beside):
            if cache.place.has(f"{beside}/{array}/{METADATA}"):
                spec = specs.get(array)
                yield from _array(video, f"{beside}/{array}", spec, {}, rows=rows, quick=quick)


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
    *,
    quick: bool,
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
    chunk = f"{where}/{chunk_key(array.ndim)}"
    if not quick and not _has_its_checksum(video.place.map(chunk)):
        yield fault("checksum", "the data does not have its crc32c checksum")
    maps[name] = array


def _fits(array: np.ndarray, dims: object, spec: ArraySpec) -> bool:
    return (
        array.dtype == np.dtype(spec.dtype).newbyteorder("<")
        and dims == list(spec.dims)
        and array.ndim == len(spec.dims)
        and all(w in (None, h) for w, h in zip(spec.sizes, array.shape[1:], strict=True))
    )


def _has_its_checksum(chunk: memoryview) -> bool:
    checksum, data = 0, chunk[:-CRC_BYTES]
    for start in range(0, len(data), BLOCK_BYTES):
        checksum = google_crc32c.extend(checksum, bytes(data[start : start + BLOCK_BYTES]))
    return bytes(chunk[-CRC_BYTES:]) == checksum.to_bytes(CRC_BYTES, "little")


def _consistency(video: Video, maps: dict[str, np.ndarray]) -> Iterator[Fault]:
    """What must hold between the arrays of one video."""
    where = f"videos/{video.id}"
    lengths = {name: len(array) for name, array in maps.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        detail = f"arrays of {lengths} rows"
        yield Fault(kind="rows", where=where, video=video.id, detail=detail)
        return
    valid = maps["valid"]
    checks = {
        "features": np.isfinite(maps["features"]).all() and not maps["features"][~valid].any(),
        "time": bool((np.diff(maps["time"]) > 0).all()) and np.isfinite(maps["time"]).all(),
        **{
            name: bool((np.isnan(maps[name].reshape(len(valid), -1)) != valid[:, None]).all())
            for name in FACE_ARRAYS
            if name in maps
        },
    }
    promises = {
        "features": "features are finite, and zero without a face",
        "time": "time is finite and increases",
    }
    for name, holds in checks.items():
        if not holds:
            detail = (
                f"broken promise: {promises.get(name, f'{name} is NaN exactly without a face')}"
            )
            yield Fault(kind="values", where=where, video=video.id, array=name, detail=detail)
