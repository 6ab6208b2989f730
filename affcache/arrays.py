"""One array, one chunk, one file: Zarr v3 arrays, appended to as a stream and mapped as one view.

The chunk holds every row, little endian, uncompressed, and the crc32c codec adds four bytes behind
them. So the data is an exact prefix of the chunk's file: a window is a view of one memory map, and
every other Zarr reader still notices corruption.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np

from affcache.errors import CacheError
from affcache.layout import CODECS, KEYS, layout
from affcache.places import METADATA as METADATA
from affcache.places import FolderPlace, Place
from affcache.schema import ArraySpec, check_rows
from affcache.staging import storing

CRC_BYTES = 4
INTACT = "what is published is intact, make room"
SMALL_DOCUMENT = 1 << 20
DEEPEST_DOCUMENT = 64
_SPELLING = json.JSONEncoder(indent=1, sort_keys=True)


class Readable(Protocol):
    """Anything that gives small files by name: a folder, a zip, or a folder behind a URL."""

    @property
    def path(self) -> object:
        """What error messages call it."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def read(self, name: str) -> bytes:
        """A small file's bytes."""


class ArrayWriter:
    """Appends rows to a new array of unknown length with constant memory.

    Parameters
    ----------
    folder : the array's folder, created here
    spec : what its rows must be
    where : what error messages call this array's owner (a video's name)
    """

    def __init__(self, folder: Path, spec: ArraySpec, where: str) -> None:
        self.folder, self.spec, self.where = folder, spec, where
        self.rows = 0
        self._sizes: tuple[int, ...] | None = None
        self._crc = 0
        chunk = folder / chunk_key(len(spec.dims))
        chunk.parent.mkdir(parents=True)
        # Without a buffer, what the disk refuses is known at once and not while closing.
        self._file = chunk.open("xb", buffering=0)

    def append(self, rows: np.ndarray) -> None:
        """Add rows; what does not fit the schema is refused before a byte is written."""
        stored = check_rows(self.folder.name, self.spec, rows, self.where)
        if self._sizes not in (None, stored.shape[1:]):
            raise CacheError(
                f"{self.where}: {self.folder.name} rows changed from {self._sizes} to "
                f"{stored.shape[1:]}"
            )
        self._sizes = stored.shape[1:]
        data = stored.tobytes()
        self._crc = google_crc32c.extend(self._crc, data)
        self._write(data)
        self.rows += len(stored)

    def finish(self) -> None:
        """Write checksum and metadata, and force both to the disk."""
        sizes = self._sizes if self._sizes is not None else tuple(s or 0 for s in self.spec.sizes)
        self._write(self._crc.to_bytes(CRC_BYTES, "little"))
        with storing(self.folder, INTACT):
            os.fsync(self._file.fileno())
        self._file.close()
        write_json(self.folder / METADATA, _document(self.spec, (self.rows, *sizes)))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        with storing(self.folder, INTACT):
            while left:
                left = left[self._file.write(left) :]

    def close(self) -> None:
        """Let go of the file; without `finish`, what it holds so far is the caller's to remove."""
        self._file.close()


def write_array(folder: Path, spec: ArraySpec, rows: np.ndarray, where: str) -> None:
    """Write a whole array at once."""
    with contextlib.closing(ArrayWriter(folder, spec, where)) as writer:
        writer.append(rows)
        writer.finish()


def map_array(where: Place, name: str) -> np.ndarray:
    """The array as a read-only view of its chunk's memory map; no copy, no decoding.

    Raises
    ------
    CacheError
        If the metadata is not that of a single uncompressed little-endian chunk of a plain number
        type, or the file is not as long as it says.
    """
    at = f"{where.path}/{name}"
    shape, dtype = layout(read_object(where, f"{name}/{METADATA}"), at)
    chunk = f"{name}/{chunk_key(len(shape))}"
    data = where.map(chunk)
    have, want = max(0, len(data) - CRC_BYTES), math.prod(shape) * dtype.itemsize
    if len(data) != want + CRC_BYTES:
        raise CacheError(
            f"{at}: holds {have} bytes of data, its metadata says {want}; `affcache verify` tells "
            "what else is damaged"
        )
    return np.frombuffer(data, dtype, math.prod(shape)).reshape(shape)


def read_rows(where: Place, name: str) -> Iterator[np.ndarray]:
    """The array's rows, some thousands at a time, read and not mapped: memory stays flat."""
    shape, dtype = layout(read_object(where, f"{name}/{METADATA}"), f"{where.path}/{name}")
    row = math.prod(shape[1:]) * dtype.itemsize
    left, held = shape[0] * row, b""
    for block in where.blocks(f"{name}/{chunk_key(len(shape))}") if row else ():
        held += block[:left]
        left -= min(len(block), left)
        whole = len(held) // row
        yield np.frombuffer(held, dtype, whole * row // dtype.itemsize).reshape(whole, *shape[1:])
        held = held[whole * row :]


def chunk_key(dims: int) -> str:
    """Where an array's only chunk lies inside its folder."""
    return "/".join(["c", *["0"] * dims])


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step that survives a crash, with sorted keys."""
    write_pieces(path, [json_bytes(document)])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Replace a file in one step that survives a crash; the pieces are not held together."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with storing(path, INTACT):
        with partial.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def is_debris(path: Path) -> bool:
    """Whether a file is what a killed `write_json` leaves behind."""
    return re.fullmatch(r".+\.json\.\d+\.partial", path.name) is not None


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document's one and only spelling in a cache."""
    spelled = io.BytesIO()  # json.dumps makes a list of all pieces: five times a seal's length
    for piece in _SPELLING.iterencode(document):
        spelled.write(piece.encode())
    return spelled.getvalue()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or an error that names the file."""
    return read_object(FolderPlace(path.parent), path.name)


def read_object(where: Readable, name: str) -> dict[str, Any]:
    """A JSON object from a file of a place, or an error that names the file."""
    return parsed_object(where.read(name), f"{where.path}/{name}")


def parsed_object(data: bytes, at: str) -> dict[str, Any]:
    """A JSON object from its bytes, or an error that says where they lie.

    Refused unread are bytes that would fill far more memory than they are themselves.
    """
    brackets = data.count(b"[") + data.count(b"{")
    if len(data) > SMALL_DOCUMENT and brackets > len(data) // 16:
        raise CacheError(f"{at}: {len(data)} bytes of little but brackets are no metadata")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CacheError(f"{at}: not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise CacheError(f"{at}: holds {type(document).__name__}, expected an object")
    if brackets > DEEPEST_DOCUMENT and _is_deep(document):
        raise CacheError(f"{at}: nested deeper than {DEEPEST_DOCUMENT} levels")
    return document


def _is_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document | {"consolidated_metadata": None}]  # large, and never walked
    for _ in range(DEEPEST_DOCUMENT):
        inner = chain.from_iterable(x.values() if isinstance(x, dict) else x for x in level)
        level = [x for x in inner if isinstance(x, dict | list)]
    return bool(level)


def group_document(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a Zarr v3 group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def _document(spec: ArraySpec, shape: tuple[int, ...]) -> dict[str, Any]:
    missing = spec.missing
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}},
        "chunk_key_encoding": KEYS,
        "fill_value": "NaN" if isinstance(missing, float) and math.isnan(missing) else missing,
        "codecs": CODECS,
        "attributes": {"meaning": spec.meaning},
        "dimension_names": list(spec.dims),
        "storage_transformers": [],
    }
