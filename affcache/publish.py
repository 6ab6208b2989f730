"""Writing videos into a cache: a claim, a stream of rows, and one rename that makes them public.

A video is written under `.affcache/partial/<id>` and renamed into `videos/` when it is whole, so a
killed run leaves either a whole video or nothing. The claim is a lock that the kernel drops with
its owner: several writers share a cache, and a dead one's claim is free again at once.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from affcache.arrays import METADATA, ArrayWriter, is_debris, read_json, write_json
from affcache.errors import CacheError, StorageError
from affcache.places import FolderPlace
from affcache.schema import FORMAT_VERSION, REQUIRED_ARRAYS, VIDEO_ARRAYS, ArraySpec, is_safe_id
from affcache.staging import install
from affcache.store import (
    PRIVATE,
    Cache,
    ensure_group,
    fingerprint,
    write_group,
)


class VideoWriter:
    """Streams one video's rows; `publish` makes it public, leaving without it removes it.

    Parameters
    ----------
    cache : the cache's folder
    video_id : a safe folder name
    streams : further arrays than the schema's, by name
    """

    def __init__(self, cache: Path, video_id: str, streams: Mapping[str, ArraySpec]) -> None:
        self.cache, self.id = cache, video_id
        self.rows = 0
        self._specs = VIDEO_ARRAYS | dict(streams)
        self._folder = cache / PRIVATE / "partial" / video_id
        self._writers: dict[str, ArrayWriter] = {}
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the same number of rows to every array; the first call decides which there are."""
        if not self._writers:
            self._writers = {
                name: ArrayWriter(self._folder / name, self._specs[name], f"video {self.id}")
                for name in arrays
            }
        lengths = {name: len(rows) for name, rows in arrays.items()}
        if set(arrays) != set(self._writers) or len(set(lengths.values())) != 1:
            raise CacheError(f"video {self.id}: arrays of unequal rows {lengths}")
        for name, rows in arrays.items():
            self._writers[name].append(rows)
        self.rows += next(iter(lengths.values()))

    def publish(self, attributes: Mapping[str, Any]) -> None:
        """Force everything to the disk and rename it into place.

        Raises
        ------
        CacheError
            If a required array is missing or there is not a single frame.
        """
        missing = set(REQUIRED_ARRAYS) - set(self._writers)
        if missing or self.rows == 0:
            raise CacheError(f"video {self.id}: {self.rows} frames, missing {sorted(missing)}")
        for writer in self._writers.values():
            writer.finish()
        write_group(self._folder, attributes)
        target = self.cache / "videos" / self.id
        ensure_group(target.parent, {})
        install(self._folder, target)


def create(
    path: Path, dataset: str, fields: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Make an empty cache, or check that the one there was made in exactly the same way.

    Write into it inside `store.unsealed(path)`, which seals it behind the last writer.

    Parameters
    ----------
    path : the cache's folder
    dataset : the manifest's name
    fields : everything that decides the contents; its hash is the cache's fingerprint
    provenance : what else a reader may want to know (versions, who, when)

    Raises
    ------
    CacheError
        If there is a cache of another fingerprint; the message says which fields differ.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "dataset": dataset,
        "fingerprint": fingerprint(fields),
        "fields": dict(fields),
        "provenance": dict(provenance),
    }
    establish(path, header)


def establish(path: Path, header: Mapping[str, Any]) -> None:
    """Make an empty cache with a given header, or check that the one there has the same fields.

    Raises
    ------
    CacheError
        As for `create`.
    """
    if path.exists() and not path.is_dir():
        raise CacheError(f"{path}: is a file; a cache is a folder")
    if (path / METADATA).exists() or (path / PRIVATE).exists():
        FolderPlace(path).refuse_links()
    private = path / PRIVATE
    try:
        (private / "partial").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot hold a cache ({error.strerror}); choose another place"
        ) from None
    with _locked(private / "lock"):
        if (path / METADATA).exists():
            check_same(Cache(path).header, header, path)
            return
        if any(e.name != PRIVATE and not is_debris(e) for e in path.iterdir()):
            raise CacheError(f"{path}: not empty and not a cache; choose another folder")
        write_group(path, {"affcache": header})


def video_fingerprint(fields: Mapping[str, Any], face: str, source_sha256: str) -> str:
    """What decides one video's contents: the cache's fields, which face, which source."""
    return fingerprint({"cache": fingerprint(fields), "face": face, "source": source_sha256})


def published_fingerprint(cache: Path, video_id: str) -> str | None:
    """The fingerprint of a published video, None where there is none."""
    path = cache / "videos" / video_id / METADATA
    return read_json(path)["attributes"]["fingerprint"] if path.exists() else None


@contextmanager
def claim(cache: Path, video_id: str) -> Iterator[bool]:
    """Hold a video for writing; False if another living process holds it."""
    if not is_safe_id(video_id):
        raise CacheError(f"video id {video_id!r} is not a safe folder name")
    path = cache / PRIVATE / "partial" / f"{video_id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def quarantine(cache: Path, video_id: str, source: str, reason: str) -> None:
    """Remember why a video could not be extracted, in a note that no seal covers."""
    folder = cache / PRIVATE / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    note = {"source": source, "reason": reason, "when": time.time()}
    write_json(folder / f"{video_id}.json", {**note, "sha256": fingerprint(note)})


def release(cache: Path, video_id: str) -> None:
    """Forget an earlier failure of a video that is now published."""
    (cache / PRIVATE / "failed" / f"{video_id}.json").unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_same(there: Mapping[str, Any], now: Mapping[str, Any], at: object) -> None:
    """Refuse to mix two headers of caches that were extracted in different ways.

    Parameters
    ----------
    there, now : the header of a cache, and of what is to come into it
    at : what the message calls the cache

    Raises
    ------
    CacheError
        If their fingerprints differ; the message says which fields do.
    """
    if there.get("fingerprint") == now.get("fingerprint"):
        return
    differing = [
        f"{key:.80}: {old!s:.80} there, {new!s:.80} now"
        for key, old, new in differing_fields(there.get("fields", {}), now.get("fields", {}))
    ]
    raise CacheError(
        f"{at}: was extracted in another way ({'; '.join(differing)}); "
        "choose another place or the same settings"
    )


def differing_fields(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """In what two extractions differ: (dotted key, value in one, value in the other), sorted."""
    old, new = _flat(one), _flat(other)
    return [
        (key, old.get(key, "absent"), new.get(key, "absent"))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
