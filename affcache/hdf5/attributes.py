"""Attributes of a cache in HDF5: its own types where they fit, JSON text for everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from affcache.errors import CacheError

JSON_NAMES = "affcache_json"
SCALE_ATTRIBUTES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS")


def write_attributes(target: h5py.Group | h5py.Dataset, attributes: Mapping[str, Any]) -> None:
    as_json = []
    if not isinstance(attributes, Mapping):
        raise CacheError(f"{target.name}: attributes are not an object")
    for name, value in attributes.items():
        if not name or "\0" in name or name in (JSON_NAMES, *SCALE_ATTRIBUTES):
            raise CacheError(f"{target.name}: HDF5 cannot hold an attribute named {name!r:.80}")
        if _is_plain(value):
            target.attrs[name] = value
        else:
            target.attrs[name] = json.dumps(value)
            as_json.append(name)
    if as_json:
        target.attrs[JSON_NAMES] = json.dumps(as_json)


def read_attributes(source: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    try:
        as_json = json.loads(source.attrs.get(JSON_NAMES, "[]"))
        return {
            name: json.loads(value) if name in as_json else _as_python(value)
            for name, value in source.attrs.items()
            if name not in (JSON_NAMES, *SCALE_ATTRIBUTES)
        }
    except (TypeError, ValueError, RecursionError) as error:
        raise CacheError(
            f"{source.file.filename}: attributes of {source.name} are not readable ({error})"
        ) from None


def _as_python(value: object) -> str | bool | int | float:
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating):
        plain: bool | int | float = value.item()
        return plain
    raise TypeError(f"{type(value).__name__} is neither text nor a number")


def _is_plain(value: object) -> bool:
    """Whether HDF5 keeps a value as it is: short whole numbers, floats, texts that are UTF-8."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, bool | float):
        return True
    return isinstance(value, int) and -(2**63) <= value < 2**63
