"""Where a cache's files lie: in a folder, or stored in a zip. Both give bytes and memory maps.

Nothing outside the folder or the zip is ever reached: names are checked before they are used, links
are refused, and what a zip's directory promises is held against the zip's real size.
"""

from __future__ import annotations

import mmap
import os
import sys
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from affcache.errors import CacheError

LARGEST_METADATA = 1 << 30
LOCAL_HEADER = 30


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

    def map(self, name: str) -> memoryview:
        """A file's bytes as a read-only view of a memory map."""


def place(path: str | Path) -> Place:
    """The place at a path: a zip if it is a file, else a folder."""
    path = Path(path)
    return ZipPlace(path) if path.is_file() else FolderPlace(path)


def safe_name(name: str) -> bool:
    """Whether a name stays below its root on every system."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and name == "/".join(parts)
        and not name.startswith("/")
        and ".." not in parts
        and not any(c in name for c in ("\\", ":", "\0"))
    )


class FolderPlace:
    """A cache's own folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _home(self) -> Path:
        return self.path.resolve()

    def files(self) -> list[str]:
        """Every file and every link, sorted."""
        found = []
        for folder, folders, names in os.walk(self.path):
            here = Path(folder)
            links = [name for name in folders if (here / name).is_symlink()]
            found += [(here / name).relative_to(self.path).as_posix() for name in names + links]
        return sorted(found)

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def size(self, name: str) -> int:
        """A file's length in bytes."""
        return self._inside(name).stat().st_size

    def read(self, name: str) -> bytes:
        """A small file's bytes."""
        path = self._inside(name)
        if path.stat().st_size > LARGEST_METADATA:
            raise CacheError(f"{path}: {path.stat().st_size} bytes is too large for metadata")
        return path.read_bytes()

    def map(self, name: str) -> memoryview:
        """A file's bytes; the map lives as long as the view."""
        with self._inside(name).open("rb") as file:
            return _map(file.fileno())

    def _inside(self, name: str) -> Path:
        path = self.path / name
        if not path.exists():
            raise CacheError(f"{path}: missing")
        if path.resolve() != self._home / name:
            raise CacheError(f"{path}: is reached by a symbolic link; a cache holds its own files")
        return path


class ZipPlace:
    """A cache packed into one zip without compression; one map serves every array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive, path.open("rb") as file:
                self._whole = _map(file.fileno())
                entries = [info for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise CacheError(f"{path}: neither a cache's folder nor a zip ({error})") from None
        self._entries: dict[str, tuple[int, int]] = {}
        self._folders: dict[str, set[str]] = {}
        for info in entries:
            self._admit(info)

    def _admit(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        if not safe_name(name) or name in self._entries or name in self._folders:
            raise CacheError(f"{self.path}: entry {name!r:.80} leaves the cache or occurs twice")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise CacheError(
                f"{self.path}: {name} is compressed, so it cannot be mapped; "
                "run `affcache unpack` on it first"
            )
        if info.header_offset + LOCAL_HEADER + info.file_size > len(self._whole):
            raise CacheError(f"{self.path}: {name} is longer than the file that holds it")
        self._entries[name] = (info.header_offset, info.file_size)
        parts = name.split("/")
        for depth in range(len(parts)):
            self._folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])

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
        """An entry's length in bytes."""
        return self._entry(name)[1]

    def read(self, name: str) -> bytes:
        """A small entry's bytes."""
        return bytes(self.map(name))

    def map(self, name: str) -> memoryview:
        """An entry's bytes; they begin behind its local header, whose length only it knows."""
        header, size = self._entry(name)
        lengths = self._whole[header + 26 : header + LOCAL_HEADER]
        start = header + LOCAL_HEADER + sum(memoryview(bytes(lengths)).cast("H"))
        if bytes(self._whole[header : header + 4]) != b"PK\3\4" or start + size > len(self._whole):
            raise CacheError(f"{self.path}: the entry {name} is damaged")
        return self._whole[start : start + size]

    def _entry(self, name: str) -> tuple[int, int]:
        if name not in self._entries:
            raise CacheError(f"{self.path}/{name}: missing")
        return self._entries[name]


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
