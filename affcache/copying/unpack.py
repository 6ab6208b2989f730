"""Contents as a folder; and a packed cache taken apart, with every byte checked before it shows."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from affcache.arrays import METADATA
from affcache.copying.contents import Contents, File, assembled
from affcache.errors import CacheError, StorageError
from affcache.places import PackedPlace
from affcache.progress import Progress, readable_bytes
from affcache.seals import PRIVATE, SEAL, read_seal
from affcache.staging import (
    refuse_existing,
    reserve,
    staged_folder,
    storing,
    write_at,
)
from affcache.store import Cache
from affcache.threads import spread_files

# What a seal and a root's metadata may hold of each file, generously; more is a bomb.
SEAL_BYTES_A_FILE = 512
ROOT_BYTES, ROOT_BYTES_A_FILE = 1 << 24, 1 << 14


def write_folder(contents: Contents, target: Path) -> None:
    """Write contents as a cache's folder, which appears whole or not at all.

    Raises
    ------
    CacheError
        If a source file is not what its seal says, the target is there, or what was written does
        not open.
    StorageError
        If the disk refuses.
    """
    refuse_existing(target)
    free = shutil.disk_usage(target.parent).free
    if contents.size > free:
        raise StorageError(
            f"{target}: needs {readable_bytes(contents.size)}, but there is room for "
            f"{readable_bytes(free)}"
        )
    with (
        staged_folder(target) as folder,
        Progress(f"writing {target.name}", contents.size, "bytes") as progress,
    ):
        lock = threading.Lock()

        def count(bytes_: int) -> None:
            with lock:
                progress.advance(bytes_)

        with storing(target):
            for parent in _folders(contents.files):
                (folder / parent).mkdir()
        sizes = {name: file.size for name, file in contents.files.items()}
        for _ in spread_files(
            lambda name: _write(contents, name, folder, count), sizes, sizes.__getitem__
        ):
            pass
        Cache(folder)


def packed_contents(path: Path) -> Contents:
    """What a packed cache holds, stored or compressed: its seal and exactly the sealed files.

    Raises
    ------
    CacheError
        If it is not a zip, has no seal, or its files are not those that the seal lists.
    """
    where = PackedPlace(path)
    if not where.has(SEAL):
        raise CacheError(
            f"{path}: has no {SEAL}, so nothing in it can be checked; was it made by `affcache "
            "pack`?"
        )
    names = [name for name in where.files() if not name.startswith(f"{PRIVATE}/")]
    _refuse_bomb(where, SEAL, SEAL_BYTES_A_FILE * (len(names) + 8))
    sealed = read_seal(where)
    for name in sorted(sealed.keys() ^ set(names)):
        place = "the seal, but not in the zip" if name in sealed else "the zip, but not in the seal"
        raise CacheError(f"{path}: {name} is in {place}; fetch it again")
    for name, (size, _) in sealed.items():
        if where.size(name) != size:
            raise CacheError(
                f"{path}: {name} has {where.size(name)} bytes, its seal says {size}; fetch it again"
            )
    if METADATA in sealed:
        _refuse_bomb(where, METADATA, ROOT_BYTES + ROOT_BYTES_A_FILE * len(names))
    files = {n: File(size=s.size, sha256=s.sha256, origin=where) for n, s in sealed.items()}
    found = assembled(files, None)
    if found.read(SEAL) != where.read(SEAL):
        raise CacheError(f"{path}: its seal was edited; fetch it again")
    return found


def _refuse_bomb(where: PackedPlace, name: str, most: int) -> None:
    if where.size(name) > most:
        raise CacheError(
            f"{where.path}: {name} claims {readable_bytes(where.size(name))}, which so few files "
            "do not need; refused"
        )


def _folders(names: Iterable[str]) -> list[str]:
    """Every folder that the files lie in, outer ones first."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(found)


def _write(contents: Contents, name: str, folder: Path, count: Callable[[int], None]) -> None:
    with storing(folder / name):
        file = (folder / name).open("xb", buffering=0)
    at = 0
    with file:
        with storing(folder / name):
            reserve(file.fileno(), contents.files[name].size)
        for block in contents.blocks(name):
            with storing(folder / name):
                write_at(file.fileno(), block, at)
            at += len(block)
            count(len(block))
