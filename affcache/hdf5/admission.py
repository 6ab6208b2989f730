"""What an HDF5 file of a stranger may hold before a cache is made of it: plain arrays of its own.

Links, external storage, virtual data, other types, and promises far beyond the file's size are
refused before anything is read or written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from affcache import store
from affcache.errors import CacheError
from affcache.hdf5.attributes import read_attributes
from affcache.layout import DTYPES
from affcache.schema import (
    FORMAT_VERSION,
    LABEL_ARRAYS,
    PSEUDO_ARRAYS,
    VIDEO_ARRAYS,
    ArraySpec,
    is_safe_id,
)

LARGEST_CHUNK = 1 << 28
LARGEST_LABELS = 1 << 27  # they are read at once; a day of twelve units needs that
LARGEST_RATIO = 200
SMALL = 1 << 30
SCHEMAS = {"videos": VIDEO_ARRAYS, "labels": LABEL_ARRAYS, "pseudo": PSEUDO_ARRAYS}


@contextmanager
def opened(source: Path) -> Iterator[h5py.File]:
    """The file, with whatever HDF5 finds wrong in it as one clear error."""
    if not source.is_file():
        raise CacheError(f"{source}: there is no such file")
    try:
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CacheError(f"{source}: not readable as HDF5 ({error})") from error


def header_of(file: h5py.File) -> dict[str, Any]:
    header = read_attributes(file).get("affcache")
    if not isinstance(header, dict):
        raise CacheError(
            f"{file.filename}: is not a cache that `affcache export` wrote; features that others "
            "extracted come in with `affcache import --features ... --spec ...`"
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise CacheError(
            f"{file.filename}: format version {header.get('format_version')!r:.20}, this program "
            f"reads {FORMAT_VERSION}; update affcache"
        )
    fields = header.get("fields")
    if not isinstance(fields, dict) or store.fingerprint(fields) != header.get("fingerprint"):
        raise CacheError(f"{file.filename}: its fingerprint is not that of its fields")
    if not isinstance(header.get("provenance", {}), dict):
        raise CacheError(f"{file.filename}: its provenance is not an object")
    return header


def refuse_link(group: h5py.Group, name: str) -> None:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise CacheError(
            f"{group.file.filename}: {group.name.rstrip('/')}/{name} is a link; "
            "an exported cache holds its own data"
        )


def admit(group: h5py.Group, name: str, schema: Mapping[str, ArraySpec]) -> ArraySpec:
    """What an array of the file is, if it can be one of a cache."""
    at = f"{group.file.filename}: {group.name}/{name}"
    refuse_link(group, name)
    found = group[name]
    if not isinstance(found, h5py.Dataset) or not is_safe_id(name) or not found.shape:
        raise CacheError(f"{at:.200} is not an array of a cache")
    if found.dtype.name not in DTYPES or found.external or found.is_virtual:
        raise CacheError(f"{at} holds {found.dtype}, or lies in another file; a cache cannot")
    if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > LARGEST_CHUNK:
        raise CacheError(f"{at} has chunks of more than {LARGEST_CHUNK >> 20} MiB")
    if schema is not VIDEO_ARRAYS and found.nbytes > LARGEST_LABELS:
        raise CacheError(f"{at} has more than {LARGEST_LABELS >> 20} MiB of labels")
    spec = ArraySpec(
        dims=tuple(str(dim.label) for dim in found.dims),
        dtype=found.dtype.name,
        sizes=found.shape[1:],
        missing=found.fillvalue.item(),
        meaning=str(read_attributes(found).get("meaning", "")),
    )
    known = schema.get(name)
    if known is None and (schema is not VIDEO_ARRAYS or spec.dims[0] != "frame"):
        raise CacheError(f"{at}: no such array in a cache")
    if known is not None and (spec.dims, spec.dtype) != (known.dims, known.dtype):
        raise CacheError(
            f"{at}: {spec.dtype} {spec.dims}, a cache has {known.dtype} {known.dims} there"
        )
    return spec


def refuse_bomb(file: h5py.File, leaves: list[str], source: Path) -> None:
    """Compressed or never written data may not promise far more than the file can hold."""
    promised = 0
    for group in leaves:
        kind = group.split("/")[0]
        for name in file[group]:
            admit(file[group], name, SCHEMAS[kind])
            promised += int(file[group][name].nbytes)
    size = source.stat().st_size
    if promised > max(SMALL, LARGEST_RATIO * size):
        raise CacheError(f"{source}: {size} bytes claim to hold {promised}; refused")
