"""What an array's metadata must say so that its file is its data: one plain, uncompressed chunk.

It is held against what this program writes, word by word: what passes here, every other Zarr reader
understands in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from affcache.errors import CacheError

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64")
MOST_DIMENSIONS = 8
MOST_ROWS = 1 << 25  # a fortnight of video
CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
KEYS = {"name": "default", "configuration": {"separator": "/"}}


def layout(document: Mapping[str, Any], at: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, from its metadata.

    Parameters
    ----------
    document : the array's zarr.json
    at : what error messages call it

    Raises
    ------
    CacheError
        If it is not that of a single uncompressed little-endian chunk of a plain number type.
    """
    shape, name = document.get("shape"), document.get("data_type")
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= MOST_DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
        or not 0 < shape[0] <= MOST_ROWS
        or name not in DTYPES
    ):
        raise CacheError(f"{at}: shape {shape!r:.60} of type {name!r:.60} is not a cache array")
    dtype = np.dtype(name).newbyteorder("<")
    one_chunk = {"name": "regular", "configuration": {"chunk_shape": shape}}
    if document.get("codecs") != CODECS or document.get("chunk_grid") != one_chunk:
        raise CacheError(f"{at}: is not one uncompressed chunk, so it cannot be mapped")
    if (
        (document.get("zarr_format"), document.get("node_type")) != (3, "array")
        or document.get("chunk_key_encoding") != KEYS
        or document.get("storage_transformers")
        or not _are_names(document.get("dimension_names"), len(shape))
        or not _fits(document.get("fill_value"), dtype)
    ):
        raise CacheError(f"{at}: its metadata are not those of a cache array")
    return tuple(shape), dtype


def _are_names(names: object, dims: int) -> bool:
    if not isinstance(names, list) or len(names) != dims:
        return False
    return all(isinstance(name, str) for name in names) and len(set(names)) == dims


def _fits(fill: object, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b" or isinstance(fill, bool):
        return dtype.kind == "b" and isinstance(fill, bool)
    if isinstance(fill, int):
        return abs(fill) < 1 << 15
    return dtype.kind == "f" and (fill == "NaN" or isinstance(fill, float))
