"""Where a cache's files lie: in a folder, or stored in a zip. Both give bytes and memory maps.

Nothing outside the folder or the zip is ever reached: names are checked before they are used, links
are refused, and what a zip's directory promises is held against the zip's real size.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import weakref
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from affcache import zips
from affcache.errors import CacheError

METADATA = "zarr.json"
METADATA_BYTES, METADATA_BYTES_A_FILE = 1 << 22, 1 << 11  # many times what a seal needs
BLOCK_BYTES = 1 << 18  # a block stays in a core's cache while it is hashed and written
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Place(Protocol):
    """A read-only tree of files; names are POSIX paths below its root."""

    path: Path

    def files(self) -> list[str]:
        """Names of all files, sorted, the private ones (`.affcache/`) included."""

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted; empty if there is no such folder."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def size(self, name: str) -> int:
        """A file's length in bytes."""

    def read(self, name: str) -> bytes:
        """A small file's bytes."""

    def blocks(self, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """A file's bytes, block by block; what was read is not kept in memory."""

    def map(self, name: str) -> memoryview:
        """A file's bytes as a read-only view of a memory map."""


def place(path: str | Path) -> Place:
    """The place at a path: a zip if it is a file, else a folder.

    Raises
    ------
    CacheError
        If a file is not a zip, a hostile one, or one whose entries are compressed.
    """
    path = Path(path)
    return ZipPlace(path) if path.is_file() else FolderPlace(path)


class FolderPlace:
    """A cache's own folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._plain: set[str] = set()

    def files(self) -> list[str]:
        """Every file and every link, sorted; a missing folder has none."""
        return sorted(name for name, kind in self._walk() if kind != "empty")

    def strangers(self) -> dict[str, str]:
        """What no cache has, and what it is: links, devices and empty folders."""
        return {name: kind for name, kind in sorted(self._walk()) if kind}

    def refuse_links(self, within: Sequence[str] = ()) -> None:
        """Before anything is written: nothing may lead out of the folder, or never answer.

        Parameters
        ----------
        within : groups that are moved as they are, whatever they hold

        Raises
        ------
        CacheError
            If anything in it is neither a file nor a folder.
        """
        for name, kind in self.strangers().items():
            if kind != "empty" and not any(f"{name}/".startswith(f"{g}/") for g in within):
                raise CacheError(f"{self.path / name}: is a {kind}; a cache holds its own files")

    def _walk(self) -> Iterator[tuple[str, str]]:
        """Name and kind of everything: "" for a file, and for a folder only that it is empty."""
        folders = [""] if self.path.is_dir() else []
        while folders:
            folder = folders.pop()
            if folder.count("/") > zips.DEEPEST:
                raise CacheError(f"{self.path}: folders nested too deep ({folder:.80} ...)")
            try:
                with os.scandir(self.path / folder) as entries:
                    inside = list(entries)
            except FileNotFoundError:  # somebody is at work here
                continue
            for entry in inside:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield folder + entry.name, _kind(entry)
            if folder and not inside:
                yield folder.rstrip("/"), "empty"

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted."""
        try:
            return sorted(entry.name for entry in (self.path / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(self.path / name)  # noqa: PTH113 - quiet about names that are too long

    def size(self, name: str) -> int:
        """A file's length in bytes."""
        return self._status(name).st_size

    def read(self, name: str) -> bytes:
        """A small file's bytes."""
        _refuse_large(self, name, self.size(name))
        return (self.path / name).read_bytes()

    def blocks(self, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """A file's bytes, block by block."""
        self._status(name)
        with (self.path / name).open("rb", buffering=0) as file:
            while block := file.read(block_bytes):
                yield block

    def map(self, name: str) -> memoryview:
        """A file's bytes; the map lives as long as the view."""
        self._status(name)
        with (self.path / name).open("rb") as file:
            return _map(file.fileno())

    def _status(self, name: str) -> os.stat_result:
        """Of a plain file that is reached without a link; folders are looked at once."""
        folder = name.rpartition("/")[0]
        if folder not in self._plain:
            parts = folder.split("/") if folder else []
            for depth in range(len(parts)):
                self._look("/".join(parts[: depth + 1]))
            self._plain.add(folder)
        status = self._look(name)
        if not stat.S_ISREG(status.st_mode):
            raise CacheError(f"{self.path / name}: is not a plain file")
        return status

    def _look(self, name: str) -> os.stat_result:
        path = self.path / name
        try:
            status = path.lstat()
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _NOT_THERE:
                raise
            raise CacheError(f"{path!s:.300}: missing") from None
        if stat.S_ISLNK(status.st_mode):
            raise CacheError(f"{path}: is reached by a symbolic link; a cache holds its own files")
        return status


class PackedPlace:
    """A cache in one zip, compressed or not: bytes of its files, but no memory maps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._whole = _map(self._file)
        length = len(self._whole)
        self._entries = {e.name: e for e in zips.read_directory(self._read, length, path)}

    def __reduce__(self) -> tuple[type[PackedPlace], tuple[Path]]:
        """Another process opens the file for itself."""
        return type(self), (self.path,)

    @cached_property
    def compressed(self) -> list[str]:
        """Names of entries that are compressed."""
        return [e.name for e in self._entries.values() if e.method != zips.STORED]

    @cached_property
    def _folders(self) -> dict[str, set[str]]:
        folders: dict[str, set[str]] = {"": set()}
        for name in self._entries:
            folder, _, last = name.rpartition("/")
            while folder not in folders:
                folders[folder] = {last}
                folder, _, last = folder.rpartition("/")
            folders[folder].add(last)
        return folders

    def files(self) -> list[str]:
        """Names of all entries, sorted."""
        return sorted(self._entries)

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted."""
        return sorted(self._folders.get(folder, ()))

    def has(self, name: str) -> bool:
        """Whether there is such an entry."""
        return name in self._entries

    def size(self, name: str) -> int:
        """An entry's length in bytes, as the directory says it."""
        return self._entry(name).size

    def read(self, name: str) -> bytes:
        """A small entry's bytes."""
        _refuse_large(self, name, self.size(name))
        return b"".join(self.blocks(name))

    def blocks(self, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """An entry's bytes, block by block: as many as the directory says, or an error."""
        entry = self._entry(name)
        start = zips.data_start(self._read, entry, self.path)
        raw = self._raw(start, start + entry.packed, block_bytes)
        return raw if entry.method == zips.STORED else self._inflated(entry, raw, block_bytes)

    def map(self, name: str) -> memoryview:
        """Refused unless the entry is stored (see `ZipPlace`)."""
        raise CacheError(f"{self.path}: {name} cannot be mapped; run `affcache unpack` first")

    def _read(self, start: int, stop: int) -> bytes:
        return b"".join(self._raw(start, stop, BLOCK_BYTES))

    def _raw(self, start: int, stop: int, block_bytes: int) -> Iterator[bytes]:
        while start < stop:
            block = os.pread(self._file, min(block_bytes, stop - start), start)
            if not block:
                raise CacheError(f"{self.path}: was cut while it was read")
            start += len(block)
            yield block

    def _inflated(
        self, entry: zips.Entry, raw: Iterator[bytes], block_bytes: int
    ) -> Iterator[bytes]:
        inflater, left = zlib.decompressobj(-zlib.MAX_WBITS), entry.size
        try:
            while not inflater.eof:
                piece = inflater.unconsumed_tail or next(raw, b"")
                block = inflater.decompress(piece, min(block_bytes, left + 1))
                left -= len(block)
                if left < 0 or not (piece or block):
                    break
                if block:
                    yield block
        except zlib.error as error:
            raise CacheError(f"{self.path}: {entry.name} is damaged ({error})") from None
        if left or not inflater.eof or inflater.unused_data or next(raw, b""):
            raise CacheError(f"{self.path}: {entry.name} is not as long as it says")

    def _entry(self, name: str) -> zips.Entry:
        if name not in self._entries:
            raise CacheError(f"{self.path}/{name}: missing")
        return self._entries[name]


class ZipPlace(PackedPlace):
    """A cache packed into one zip without compression; one map serves every array."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if self.compressed:
            raise CacheError(
                f"{path}: {self.compressed[0]} is compressed (cold storage), so it cannot be "
                "mapped; run `affcache unpack` on it first"
            )

    def is_as_packed(self) -> bool:
        """Whether all that is not a file's bytes is as `affcache pack` writes it.

        A zip of another length was made by another program, and is not held against ours.
        """
        return zips.is_as_written(self._read, list(self._entries.values()), len(self._whole))

    def map(self, name: str) -> memoryview:
        """An entry's bytes, a part of the one map."""
        entry = self._entry(name)
        start = zips.data_start(self._read, entry, self.path)
        return self._whole[start : start + entry.size]


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False) or not os.path.lexists(entry.path):  # gone meanwhile
        return ""
    return "symbolic link" if entry.is_symlink() else "device, socket or pipe"


def _refuse_large(where: Place, name: str, size: int) -> None:
    """A seal grows with the number of files, the root's copy with the originals; more is a bomb."""
    if size <= METADATA_BYTES:
        return
    files = where.files()
    most = METADATA_BYTES + METADATA_BYTES_A_FILE * len(files)
    if size > most and name == METADATA:  # attributes may be long
        most += 2 * sum(where.size(file) for file in files if file.endswith(f"/{METADATA}"))
    if size > most:
        raise CacheError(f"{where.path}/{name}: {size} bytes is too large for metadata")


def _map(descriptor: int) -> memoryview:
    if os.fstat(descriptor).st_size == 0:
        return memoryview(b"")
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ, trackfd=False))
    _allow_many_files()
    return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))


def _allow_many_files() -> None:
    """Before Python 3.13 every map keeps a descriptor: lift the soft limit to the hard one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
