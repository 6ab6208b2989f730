"""The zip format, as far as a cache in one file needs it: read with suspicion, written exactly.

PKWARE's APPNOTE 6.3.9: local headers with data behind them, then the central directory. What a
directory promises is held against the file's real size before anything is allocated: names are
plain files at most `DEEPEST` folders deep, each occurs once, and no two entries share a byte.

Convention: data begin at a multiple of `ALIGNMENT` bytes. The room in front of them is an extra
field of the local header (id 0xD935, the one that Android's zipalign made for this purpose).
"""

from __future__ import annotations

import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from affcache.errors import CacheError

ALIGNMENT = 64
STORED, DEFLATED = 0, 8
DEEPEST = 32
LONGEST_NAME, LONGEST_PART = 1024, 255
LARGEST_FIELD = 0xFFFFFFFF  # what is not below lies in a zip64 extra field
MOST_ENTRIES = 0xFFFF

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ZIP64, _PADDING = 0x0001, 0xD935
_UTF8, _ENCRYPTED = 0x0800, 0x0001
_MIDNIGHT_1980 = (0, 33)  # the format's earliest time and date: no clock enters the bytes
_UNIX = 3
_SEE_ZIP64 = 0xFFFFFFFF


class Entry(NamedTuple):
    """One file of a zip.

    Attributes
    ----------
    name : its path, POSIX, below the zip's root
    method : STORED or DEFLATED
    size, packed : its length in bytes, and what it takes in the zip
    crc : CRC-32 of its bytes
    offset : where its local header begins
    limit : where the next entry (or the directory) begins
    """

    name: str
    method: int
    size: int
    packed: int
    crc: int
    offset: int
    limit: int = 0


def safe_name(name: str) -> bool:
    """Whether a name stays below its root on every system, and is not absurdly long or deep."""
    parts = name.split("/")
    return (
        len(name) <= LONGEST_NAME
        and len(parts) <= DEEPEST
        and not any(part in ("", ".", "..") or len(part) > LONGEST_PART for part in parts)
        and not any(c in name for c in "\\:\0")
        and name.isprintable()
    )


Read = Callable[[int, int], bytes]


def read_directory(read: Read, length: int, path: Path) -> list[Entry]:
    """Every file that a zip's directory lists, in the order of their offsets.

    Parameters
    ----------
    read : gives the zip's bytes from an offset to another
    length : of the zip in bytes
    path : what error messages call it

    Raises
    ------
    CacheError
        If it is not a zip, or one that no honest program makes.
    """
    count, start, end = _find_directory(read, length, path)
    data = read(start, end)
    entries, folders, at = [], 0, 0
    for _ in range(count):
        entry, at = _central_entry(data, at, path)
        if entry is None:
            folders += 1
        else:
            entries.append(entry)
    if at != len(data):
        raise CacheError(f"{path}: the zip's directory is damaged")
    _refuse_clashes([entry.name for entry in entries], path)
    entries.sort(key=lambda entry: entry.offset)
    limits = [*(entry.offset for entry in entries[1:]), start]
    return [_limited(e, limit, path) for e, limit in zip(entries, limits, strict=True)]


def data_start(read: Read, entry: Entry, path: Path) -> int:
    """Where an entry's bytes begin: behind its local header, whose length only that knows."""
    header = read(entry.offset, entry.offset + _LOCAL.size + len(entry.name.encode()))
    magic, _, flags, method, _, _, _, _, _, name, extra = _LOCAL.unpack_from(header)
    start: int = entry.offset + _LOCAL.size + name + extra
    if (
        magic != b"PK\3\4"
        or flags & _ENCRYPTED
        or method != entry.method
        or header[_LOCAL.size :] != entry.name.encode()
        or name != len(header) - _LOCAL.size
        or start + entry.packed > entry.limit
    ):
        raise CacheError(f"{path}: the entry {entry.name} is damaged")
    return start


def local_header(entry: Entry, *, alignment: int = 1, large: bool | None = None) -> bytes:
    """The bytes before an entry's data, padded so that the data begin at a multiple.

    Parameters
    ----------
    large : whether to use zip64 fields; by default where they are needed
    """
    name = entry.name.encode()
    if large is None:
        large = max(entry.size, entry.packed) >= LARGEST_FIELD
    extra = struct.pack("<2H2Q", _ZIP64, 16, entry.size, entry.packed) if large else b""
    room = -(entry.offset + _LOCAL.size + len(name) + len(extra)) % alignment
    if room:
        room += alignment if room < 6 else 0
        extra += struct.pack("<3H", _PADDING, room - 4, alignment) + bytes(room - 6)
    return (
        _LOCAL.pack(
            b"PK\3\4",
            45 if large else 20,
            _flags(entry.name),
            entry.method,
            *_MIDNIGHT_1980,
            entry.crc,
            *((_SEE_ZIP64,) * 2 if large else (entry.packed, entry.size)),
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def directory(entries: Iterable[Entry], start: int) -> Iterator[bytes]:
    """The central directory and the end of a zip whose data end at `start`."""
    count, end = 0, start
    for entry in entries:
        piece = _central_header(entry)
        count, end = count + 1, end + len(piece)
        yield piece
    size = end - start
    if count >= MOST_ENTRIES or end >= LARGEST_FIELD:
        yield _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        yield _LOCATOR.pack(b"PK\6\7", 0, end, 1)
        count, size, start = 0xFFFF, _SEE_ZIP64, _SEE_ZIP64
    yield _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)


def is_as_written(read: Read, entries: Sequence[Entry], length: int) -> bool:
    """Whether a zip of this length has these headers and this directory, or another length.

    Parameters
    ----------
    read : gives the zip's bytes from an offset to another
    entries : its directory, in the order of their offsets
    length : of the zip in bytes
    """
    end, placed = 0, []
    for entry in entries:
        placed.append(entry._replace(offset=end))
        end += len(local_header(placed[-1], alignment=ALIGNMENT)) + entry.packed
    last = b"".join(directory(placed, end))
    if end + len(last) != length:
        return True
    headers = ((e.offset, local_header(e, alignment=ALIGNMENT)) for e in placed)
    return read(end, length) == last and all(
        read(start, start + len(header)) == header for start, header in headers
    )


def _central_header(entry: Entry) -> bytes:
    name = entry.name.encode()
    large = [v for v in (entry.size, entry.packed, entry.offset) if v >= LARGEST_FIELD]
    extra = struct.pack(f"<2H{len(large)}Q", _ZIP64, 8 * len(large), *large) if large else b""
    return (
        _CENTRAL.pack(
            b"PK\1\2",
            _UNIX << 8 | (45 if large else 20),
            45 if large else 20,
            _flags(entry.name),
            entry.method,
            *_MIDNIGHT_1980,
            entry.crc,
            _narrow(entry.packed),
            _narrow(entry.size),
            len(name),
            len(extra),
            0,
            0,
            0,
            (stat.S_IFREG | 0o644) << 16,
            _narrow(entry.offset),
        )
        + name
        + extra
    )


def _narrow(value: int) -> int:
    return value if value < LARGEST_FIELD else _SEE_ZIP64


def _flags(name: str) -> int:
    return 0 if name.isascii() else _UTF8


def _find_directory(read: Read, length: int, path: Path) -> tuple[int, int, int]:
    """How many entries the directory has, where it begins and where it ends."""
    tail = read(max(0, length - _END.size - 0xFFFF), length)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(
        tail
    ):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        raise CacheError(f"{path}: neither a cache's folder nor a zip (or a zip that was cut)")
    _, disk, first, here, count, size, start, _ = _END.unpack_from(tail, at)
    end = length - len(tail) + at
    locator = end - _LOCATOR.size
    if locator >= 0 and read(locator, locator + 4) == b"PK\6\7":
        _, _, end, _ = _LOCATOR.unpack(read(locator, locator + _LOCATOR.size))
        if end + _END64.size != locator or read(end, end + 4) != b"PK\6\6":
            raise CacheError(f"{path}: the zip's directory is damaged")
        _, _, _, _, disk, first, here, count, size, start = _END64.unpack(read(end, locator))
    if (disk, first, here) != (0, 0, count) or start + size != end or count * 46 > size:
        raise CacheError(f"{path}: the zip's directory is damaged")
    return count, start, end


def _central_entry(data: bytes, at: int, path: Path) -> tuple[Entry | None, int]:
    """An entry of the directory (None for a folder) and where the next one begins."""
    if at + _CENTRAL.size > len(data):
        raise CacheError(f"{path}: the zip's directory is damaged")
    magic, _, _, flags, method, _, _, crc, packed, size, *rest = _CENTRAL.unpack_from(data, at)
    name_length, extra_length, comment, disk, _, attributes, offset = rest
    names = at + _CENTRAL.size
    extras = names + name_length
    after = extras + extra_length + comment
    if magic != b"PK\1\2" or after > len(data) or disk:
        raise CacheError(f"{path}: the zip's directory is damaged")
    raw = data[names:extras]
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise CacheError(f"{path}: entry {raw!r:.80} is not named in UTF-8") from None
    kind = stat.S_IFMT(attributes >> 16)
    if name.endswith("/") and safe_name(name[:-1]) and not size and kind in (0, stat.S_IFDIR):
        return None, after
    if not safe_name(name):
        raise CacheError(f"{path}: entry {name!r:.80} leaves the cache or is nested too deep")
    if kind not in (0, stat.S_IFREG) or flags & _ENCRYPTED or method not in (STORED, DEFLATED):
        raise CacheError(f"{path}: entry {name!r:.80} is a link, encrypted or of unknown method")
    size, packed, offset = _wide(data[extras : extras + extra_length], size, packed, offset)
    if method == STORED and size != packed:
        raise CacheError(f"{path}: entry {name!r:.80} is stored, but in another length")
    return Entry(name, method, size, packed, crc, offset), after


def _wide(extra: bytes, *values: int) -> list[int]:
    """The values, those that do not fit 32 bits taken from the zip64 extra field."""
    found, at = b"", 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            found = extra[at + 4 : at + 4 + length]
        at += 4 + length
    wide = []
    for value in values:
        if value == _SEE_ZIP64 and len(found) >= 8:
            value, found = int.from_bytes(found[:8], "little"), found[8:]
        wide.append(value)
    return wide


def _refuse_clashes(names: list[str], path: Path) -> None:
    files, folders = set(names), set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    if len(files) != len(names) or files & folders:
        (most, _), *_ = Counter([*names, *folders]).most_common(1)
        raise CacheError(f"{path}: entry {most!r:.80} occurs twice")


def _limited(entry: Entry, limit: int, path: Path) -> Entry:
    if entry.offset + _LOCAL.size + len(entry.name.encode()) + entry.packed > limit:
        raise CacheError(f"{path}: entry {entry.name!r:.80} is longer than the room it has")
    return entry._replace(limit=limit)
