"""Columns of NPZ, NPY and HDF5: `name` is an array of frames, `name[2]` and `name[2:10]` of it.

Nothing is unpickled: arrays of objects are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from affcache.errors import ForeignError
from affcache.foreign.rows import Block, Wanted, array_blocks, refuse_column

Array = np.ndarray
_PART = re.compile(r"(.*)\[(\d+)(?:(:)(\d*))?\]")


def blocks(
    names: Sequence[str], load: Callable[[str], Array], wanted: Wanted, path: Path
) -> Iterator[Block]:
    """The wanted columns of a file of named arrays.

    Parameters
    ----------
    names : of the arrays that the file has
    load : gives an array by its name; it needs len, shape and slicing along the frames

    Raises
    ------
    ForeignError
        If an array is not there, not made of numbers, or they differ in rows.
    """
    singles = {role: _part(column, names, load, path) for role, column in wanted.singles.items()}
    for role, array in singles.items():
        if array.ndim != 1:
            raise ForeignError(
                f"{path}: {wanted.singles[role]!r} has shape {array.shape}, expected one column; "
                f"choose it, such as {wanted.singles[role]}[0]"
            )
    chosen = _features(names, wanted, path)
    features = [_part(name, names, load, path) for name in chosen]
    shapes = {n: a.shape for n, a in [*zip(chosen, features, strict=True), *singles.items()]}
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise ForeignError(
            f"{path}: arrays of unequal rows {shapes}; `columns` chooses among them, and frames "
            "come first (transpose what MATLAB wrote)"
        )
    return array_blocks(features, chosen, singles)


def _features(names: Sequence[str], wanted: Wanted, path: Path) -> list[str]:
    taken = {_name(column) for column in wanted.singles.values()}
    chosen: list[str] = []
    for pattern in wanted.columns or ():
        if _PART.fullmatch(pattern):
            found = [pattern]
        else:
            found = [n for n in names if fnmatchcase(n, pattern) and n not in taken]
        if not found:
            refuse_column(list(names), pattern, path)
        chosen += [
            name
            for name in found
            if name not in chosen and not any(fnmatchcase(name, p) for p in wanted.exclude)
        ]
    if wanted.columns is not None and not chosen:
        raise ForeignError(f"{path}: every array is excluded, so there is no feature")
    return chosen


def _name(column: str) -> str:
    found = _PART.fullmatch(column)
    return found[1] if found else column


def _part(column: str, names: Sequence[str], load: Callable[[str], Array], path: Path) -> Array:
    if _name(column) not in names:
        refuse_column(list(names), _name(column), path)
    array = load(_name(column))
    if array.ndim == 0 or array.dtype.kind not in "biufSU":
        raise ForeignError(
            f"{path}: {column!r} is {array.dtype} of shape {array.shape}, expected rows of numbers"
        )
    found = _PART.fullmatch(column)
    if found is None:
        return array
    first = int(found[2])
    stop = first + 1 if found[3] is None else int(found[4] or array.shape[-1])
    if array.ndim != 2 or not first < stop <= array.shape[1]:
        raise ForeignError(f"{path}: {column!r} is not within an array of shape {array.shape}")
    return np.asarray(array[:, first] if found[3] is None else array[:, first:stop])
