"""The cache on disk: open it, write it (one video = one atomic publish), resume it, seal it.

Layout (format version 1): a Zarr v3 group with `videos/<id>/`, `labels/<id>/` and
`pseudo/<name>/<id>/`, and a folder `.affcache/` for what is being written, what failed, the seal.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from affcache.arrays import (
    METADATA,
    group_document,
    is_debris,
    map_array,
    parsed_object,
    read_json,
    read_object,
    write_array,
    write_json,
    write_pieces,
)
from affcache.errors import CacheError
from affcache.places import FolderPlace, Place, place
from affcache.schema import FORMAT_VERSION, LABEL_ARRAYS, PSEUDO_ARRAYS, ArraySpec, is_safe_id
from affcache.seals import NOTES, SEAL, Sealed, consolidated, seal_bytes, sealed_in
from affcache.seals import PRIVATE as PRIVATE
from affcache.staging import install

PREVIOUS, PREVIOUS_NOTES = f"{PRIVATE}/previous-seal.json", f"{PRIVATE}/previous-seals"
_HEADER = {"dataset": str, "fingerprint": str, "fields": dict, "provenance": dict}


def fingerprint(fields: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON (sorted keys, no spaces) of what decides the contents."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Video:
    """One published video: its attributes, its mapped arrays, and what lies beside it.

    Every array is a read-only memory map with one row per decoded frame (see `affcache.schema`).
    """

    place: Place
    id: str

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """fps, source (path, sha256, bytes), face and fingerprint."""
        return _attributes(self.place, f"videos/{self.id}")

    def __len__(self) -> int:
        return len(self.array("valid"))

    def has(self, name: str) -> bool:
        """Whether this video has an array of that name."""
        return self.place.has(f"videos/{self.id}/{name}/{METADATA}")

    def array(self, name: str) -> np.ndarray:
        """A video array, such as "features" (frame, feature) float16 or "valid" (frame,) bool."""
        return map_array(self.place, f"videos/{self.id}/{name}")

    def label(self, task: str) -> np.ndarray | None:
        """Annotations of a task, such as "va" (frame, 2) float32, or None where there are none."""
        return self._beside("labels", task)

    def pseudo(self, name: str, task: str) -> np.ndarray | None:
        """Pseudo-labels of a task: "backbone" means the extraction's own classifier W."""
        if name == "backbone":
            return self.array(f"pseudo_{task}") if self.has(f"pseudo_{task}") else None
        return self._beside(f"pseudo/{name}", task)

    @property
    def label_attributes(self) -> dict[str, Any]:
        """subject and split (task -> name); empty where the video is not annotated."""
        group = f"labels/{self.id}"
        return _attributes(self.place, group) if self.place.has(f"{group}/{METADATA}") else {}

    def _beside(self, group: str, name: str) -> np.ndarray | None:
        inside = f"{group}/{self.id}/{name}"
        there = self.place.has(f"{inside}/{METADATA}")
        return map_array(self.place, inside) if there else None


class Cache:
    """A cache opened for reading.

    Parameters
    ----------
    path : the cache's folder, or the zip that `affcache pack` made of it

    Raises
    ------
    CacheError
        If there is no cache, or one of a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.place = place(path)
        if not self.place.has(METADATA):
            raise CacheError(f"{self.path}: no cache here (make one with `affcache extract`)")
        self.attributes = _first_attributes(self.place) or _attributes(self.place, "")
        self.header = header_in(self.attributes, self.path)

    @property
    def fingerprint(self) -> str:
        """What the extraction was, as one hash; two caches may only be mixed if it is equal."""
        return str(self.header.get("fingerprint", ""))

    def video_ids(self) -> list[str]:
        """Published videos, sorted."""
        return self._groups("videos")

    def videos(self) -> list[Video]:
        """All published videos, in the order of their ids."""
        return [Video(self.place, video_id) for video_id in self.video_ids()]

    def video(self, video_id: str) -> Video:
        """One video by its id."""
        if not is_safe_id(video_id) or not self.place.has(f"videos/{video_id}/{METADATA}"):
            raise CacheError(f"{self.path}: has no video {video_id!r}")
        return Video(self.place, video_id)

    def pseudo_names(self) -> list[str]:
        """Names of the pseudo-labels made after extraction."""
        return self._groups("pseudo")

    def pseudo_attributes(self, name: str) -> dict[str, Any]:
        """Provenance of a set of pseudo-labels."""
        return _attributes(self.place, f"pseudo/{name}")

    def _groups(self, folder: str) -> list[str]:
        names = self.place.members(folder)
        return [n for n in names if is_safe_id(n) and self.place.has(f"{folder}/{n}/{METADATA}")]


def header_in(attributes: Mapping[str, Any], at: object) -> dict[str, Any]:
    """The cache's header among the root group's attributes.

    Raises
    ------
    CacheError
        If there is none, or one of a newer format or with entries of other types.
    """
    header = attributes.get("affcache")
    if not isinstance(header, dict):
        raise CacheError(f"{at}: a Zarr group, but not an affcache cache")
    if header.get("format_version") != FORMAT_VERSION:
        raise CacheError(
            f"{at}: format version {header.get('format_version')!r:.40}, this program reads "
            f"{FORMAT_VERSION}; update affcache"
        )
    for name, kind in _HEADER.items():
        if not isinstance(header.get(name, kind()), kind):
            raise CacheError(f"{at}: {name} in its header is not {kind.__name__}")
    try:
        fingerprint(header.get("fields", {}))
    except ValueError:
        raise CacheError(f"{at}: fields in its header are not JSON (NaN or Infinity)") from None
    return header


def write_labels(
    cache: Path, video_id: str, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Replace a video's annotations; features are not touched."""
    ensure_group(cache / "labels", {})
    with _replacing(cache, f"labels/{video_id}") as folder:
        _write_arrays(folder, LABEL_ARRAYS, arrays, attributes, f"labels of {video_id}")


def write_pseudo(
    cache: Path,
    name: str,
    provenance: Mapping[str, Any],
    rows: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Replace a set of pseudo-labels as a whole: video id -> task -> rows, one per frame."""
    if not is_safe_id(name) or name == "backbone":
        raise CacheError(f"{name!r} cannot name a set of pseudo-labels")
    ensure_group(cache / "pseudo", {})
    with _replacing(cache, f"pseudo/{name}") as folder:
        write_group(folder, provenance)
        for video_id, arrays in rows.items():
            _write_arrays(folder / video_id, PSEUDO_ARRAYS, arrays, {}, f"pseudo of {video_id}")


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a Zarr group, or replace its attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / METADATA, group_document(attributes))


@contextlib.contextmanager
def unsealed(cache: Path) -> Iterator[None]:
    """Open a cache for a change, and seal it behind the last of all who change it at this time.

    Also after a change that fails: every group is replaced as a whole, so what is there is true.
    """
    if cache.is_file():
        raise CacheError(
            f"{cache}: is a packed file, which never changes; `affcache unpack` it and change that"
        )
    FolderPlace(cache).refuse_links()
    (cache / PRIVATE).mkdir(exist_ok=True)  # whoever copies `*` leaves it behind
    with (cache / PRIVATE / "writers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        unseal(cache)
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError, CacheError):  # the first error is the one to tell
                _seal_if_last(cache, file)
            raise
        _seal_if_last(cache, file)


def _seal_if_last(cache: Path, lock: TextIO) -> None:
    fcntl.flock(lock, fcntl.LOCK_UN)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seal(cache)


def unseal(cache: Path) -> None:
    """Before a change: the seal steps aside, and so does the consolidated copy of the metadata."""
    with contextlib.suppress(FileNotFoundError):  # another writer may be the first to unseal
        (cache / SEAL).replace(cache / PREVIOUS)
    for note in _notes(cache):
        aside = cache / PREVIOUS_NOTES / note.relative_to(cache / NOTES)
        aside.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            note.replace(aside)
    write_group(cache, Cache(cache).attributes)


def seal(cache: Path) -> None:
    """Consolidate the metadata and record size and sha256 of every file.

    Videos never change once published, so their hashes are taken from the previous seal where it
    is younger than the file; everything else is read.
    """
    FolderPlace(cache).refuse_links()
    for debris in filter(is_debris, sealed_files(cache)):
        debris.unlink()
    groups = [path.parent for path in sealed_files(cache) if path.name == METADATA]
    members = (group.relative_to(cache).as_posix() for group in groups if group != cache)
    attributes = Cache(cache).attributes
    copy = consolidated(attributes, members, lambda group: read_json(cache / group / METADATA))
    write_pieces(cache / METADATA, copy)
    known = _previous_seal(cache)
    files = {}
    for path in sealed_files(cache):
        name = path.relative_to(cache).as_posix()
        status = path.stat()
        size, digest, before = known.get(name, (-1, "", 0))
        if size != status.st_size or status.st_mtime_ns >= before:
            digest = sha256_of(path)
        files[name] = Sealed(status.st_size, digest)
    write_pieces(cache / SEAL, [seal_bytes(files)])
    for note in _notes(cache):  # of groups that others added meanwhile
        if sealed_in(read_json(note), str(note)).items() <= files.items():
            note.unlink(missing_ok=True)
    (cache / PREVIOUS).unlink(missing_ok=True)
    shutil.rmtree(cache / PREVIOUS_NOTES, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _previous_seal(cache: Path) -> dict[str, tuple[int, str, int]]:
    """Size, sha256 and time of sealing of the videos' files, where a file was sealed before."""
    seals = [cache / PREVIOUS] if (cache / PREVIOUS).exists() else []
    known, whole = {}, FolderPlace(cache)  # how long a seal may be, all of the cache's files say
    for path in [*seals, *(cache / PREVIOUS_NOTES).rglob("*.json")]:
        before = path.stat().st_mtime_ns
        document = read_object(whole, path.relative_to(cache).as_posix())
        for name, entry in sealed_in(document, str(path)).items():
            if name.startswith("videos/"):
                known[name] = (entry.size, entry.sha256, before)
    return known


def _notes(cache: Path) -> list[Path]:
    """The seals of single groups that lie beside the seal of the whole (`affcache.notes`)."""
    return sorted((cache / NOTES).rglob("*.json"))


def sealed_files(cache: Path) -> list[Path]:
    """What a seal covers: every file outside the private folder, and every link, sorted."""
    names = FolderPlace(cache).files()
    return [cache / name for name in names if not name.startswith(f"{PRIVATE}/")]


def _first_attributes(where: Place) -> dict[str, Any] | None:
    """The root's attributes where its document begins with them, as a sealed one does.

    Behind them lies the copy of everybody's metadata: with thousands of videos more than a hundred
    megabytes, for readers that know nothing of this layout.
    """
    begin, end = b'{\n "attributes": ', b',\n "consolidated_metadata": '
    head = next(where.blocks(METADATA), b"")
    if not head.startswith(begin) or end not in head:
        return None
    try:
        return parsed_object(head[len(begin) : head.index(end)], f"{where.path}/{METADATA}")
    except CacheError:
        return None


def _attributes(where: Place, group: str) -> dict[str, Any]:
    name = f"{group}/{METADATA}" if group else METADATA
    attributes = read_object(where, name).get("attributes", {})
    if not isinstance(attributes, dict):
        raise CacheError(f"{where.path}/{name}: attributes are not an object")
    return attributes


def ensure_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a Zarr group if there is none."""
    if not (folder / METADATA).is_file():
        write_group(folder, attributes)


@contextlib.contextmanager
def _replacing(cache: Path, group: str) -> Iterator[Path]:
    """A folder to write a group's successor into; leaving without an error swaps the two."""
    fresh = cache / PRIVATE / "partial" / f"{group.replace('/', '+')}.{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    yield fresh
    with (cache / PRIVATE / "swap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two who replace the same group take turns
        install(fresh, cache / group)


def _write_arrays(
    folder: Path,
    specs: Mapping[str, ArraySpec],
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    where: str,
) -> None:
    write_group(folder, attributes)
    for name, rows in arrays.items():
        write_array(folder / name, specs[name], rows, where)
