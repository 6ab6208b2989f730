"""One file that holds a cache: stored and aligned so that it is mapped, or compressed for a shelf.

A stored pack's layout follows from names and sizes alone, so files are copied into it in parallel
and the same cache always gives the same bytes. A compressed one is an ordinary deflated zip.
"""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from affcache import zips
from affcache.copying.contents import Contents, File
from affcache.progress import Progress
from affcache.staging import reserve, staged_file, storing, write_at
from affcache.threads import spread_files
from affcache.zips import DEFLATED, STORED, Entry

LEVEL = 6  # deflate's own default: higher levels gain under one per cent on float16 features
DEFLATED_GROWTH = 1 << 20  # what deflate may add to incompressible data, generously


def write_pack(
    contents: Contents, target: Path, *, compress: bool = False, replace: bool = False
) -> None:
    """Write contents into one zip, which appears whole or not at all.

    Parameters
    ----------
    compress : deflate the files; such a zip cannot be trained from, only unpacked
    replace : whether a file that is there gives way

    Raises
    ------
    CacheError
        If a source file is not what its seal says, or the target is there.
    StorageError
        If the disk refuses.
    """
    with (
        staged_file(target, replace=replace) as descriptor,
        Progress(f"packing {target.name}", contents.size, "bytes") as progress,
    ):
        writer = _Writer(contents, target, descriptor, progress)
        if compress:
            entries = list(writer.deflated())
            writer.finish(entries, entries[-1].limit)
        else:
            end = max(entry.limit for entry in layout(contents.files))
            writer.reserve(end)
            planned = layout(contents.files)
            writer.finish(spread_files(writer.store, planned, lambda entry: entry.size), end)


def layout(files: Mapping[str, File]) -> Iterator[Entry]:
    """Where every file of a stored pack lies: a function of names and sizes, checksums still 0."""
    offset = 0
    for name, file in files.items():
        entry = Entry(name, STORED, file.size, file.size, 0, offset)
        offset += len(zips.local_header(entry, alignment=zips.ALIGNMENT)) + file.size
        yield entry._replace(limit=offset)


class _Writer:
    """Writes entries through one descriptor, from several threads."""

    def __init__(
        self, contents: Contents, target: Path, descriptor: int, progress: Progress
    ) -> None:
        self._contents, self._target, self._descriptor = contents, target, descriptor
        self._progress, self._lock = progress, threading.Lock()

    def reserve(self, length: int) -> None:
        """Claim the room that a layout needs."""
        with storing(self._target):
            reserve(self._descriptor, length)

    def store(self, entry: Entry) -> Entry:
        """Copy one file to its place; its header follows when its checksum is known."""
        crc, at = 0, entry.limit - entry.size
        for block in self._contents.blocks(entry.name):
            crc = zlib.crc32(block, crc)
            self._write(block, at)
            at += len(block)
            self._count(len(block))
        done = entry._replace(crc=crc)
        self._write(zips.local_header(done, alignment=zips.ALIGNMENT), entry.offset)
        return done

    def deflated(self) -> Iterator[Entry]:
        """Compress one file behind the other."""
        offset = 0
        for name, file in self._contents.files.items():
            # The header's length must be known before the result is: fields for the worst case.
            large = file.size + file.size // 1000 + DEFLATED_GROWTH >= zips.LARGEST_FIELD
            entry = Entry(name, DEFLATED, file.size, 0, 0, offset)
            start = at = offset + len(zips.local_header(entry, large=large))
            crc, deflater = 0, zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            for block in self._contents.blocks(name):
                crc = zlib.crc32(block, crc)
                at = self._write(deflater.compress(block), at)
                self._count(len(block))
            at = self._write(deflater.flush(), at)
            done = entry._replace(packed=at - start, crc=crc, limit=at)
            self._write(zips.local_header(done, large=large), offset)
            offset = at
            yield done

    def finish(self, entries: Iterable[Entry], end: int) -> None:
        """The directory, behind the last entry; of an entry that is written only this is kept."""
        directory = io.BytesIO()
        directory.writelines(zips.directory(entries, end))
        self._write(directory.getvalue(), end)

    def _write(self, data: bytes, at: int) -> int:
        with storing(self._target):
            write_at(self._descriptor, data, at)
        return at + len(data)

    def _count(self, count: int) -> None:
        with self._lock:
            self._progress.advance(count)
