"""What a file's bytes are, in one pass: its length, its sha256, and whether its own checksum holds.

An array's file ends in the crc32c of all that lies before (see `affcache.arrays`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import google_crc32c

from affcache.arrays import CRC_BYTES
from affcache.errors import CacheError
from affcache.places import Place
from affcache.threads import spread_files


class Digest(NamedTuple):
    """A file as it was read.

    Attributes
    ----------
    size : bytes that were there
    sha256 : of them, as hex
    checksum_holds : whether the last four bytes are the crc32c of those before
    trouble : why it could not be read; "" if it could
    """

    size: int
    sha256: str
    checksum_holds: bool
    trouble: str = ""


def digest(where: Place, name: str, count: Callable[[int], None] = lambda _: None) -> Digest:
    """Read a file once, in blocks.

    Parameters
    ----------
    count : told the length of every block
    """
    size, checksum, sha256, last = 0, 0, hashlib.sha256(), b""
    try:
        for block in where.blocks(name):
            size += len(block)
            sha256.update(block)
            count(len(block))
            joined = last + block if len(block) < CRC_BYTES else block
            if joined is block:
                checksum = google_crc32c.extend(checksum, last)
            checksum = google_crc32c.extend(checksum, joined[:-CRC_BYTES])
            last = joined[-CRC_BYTES:]
    except (CacheError, OSError) as error:
        return Digest(size, "", False, str(error))
    return Digest(size, sha256.hexdigest(), last == checksum.to_bytes(4, "little"))


def digests(where: Place, names: Iterable[str], count: Callable[[int], None]) -> dict[str, Digest]:
    """Every file's digest, several at a time."""
    sizes = {name: size_of(where, name) for name in names}
    found = spread_files(lambda name: digest(where, name, count), sizes, sizes.__getitem__)
    return dict(zip(sizes, found, strict=True))


def size_of(where: Place, name: str) -> int:
    """A file's length in bytes; 0 if it cannot be looked at."""
    try:
        return where.size(name)
    except (CacheError, OSError):
        return 0
