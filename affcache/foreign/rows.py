"""What every format's reader gives: blocks of rows, features beside the single columns asked for.

A reader is a generator: it holds a few megabytes of a file, however long or wide the file is.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from affcache.errors import ForeignError
from affcache.foreign import FORMATS

BLOCK_BYTES = 1 << 23
NOTHING = ("", "?", "nan", "na", "n/a", "nan(ind)", "-nan(ind)")  # the last: Windows' C


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which columns of a file are read, and how its text is cut.

    Attributes
    ----------
    columns, exclude : names or patterns of the features; None reads none
    singles : role -> column; columns that are a role's are no features
    group : HDF5: the group that holds the arrays, "" for the file's root
    delimiter, header : CSV: between fields; whether the first line has names
    """

    columns: tuple[str, ...] | None
    exclude: tuple[str, ...] = ()
    singles: Mapping[str, str]
    group: str = ""
    delimiter: str = ","
    header: bool = True


class Block(NamedTuple):
    """Consecutive rows of a file.

    features (n, D) float64, NaN where there is nothing; names of the feature columns; singles: role
    -> (n,) numbers, or texts as objects; lines (n,) where each row stands, for messages.
    """

    features: np.ndarray
    names: tuple[str, ...]
    singles: dict[str, np.ndarray]
    lines: np.ndarray


Reader = Callable[[Path, Wanted], Iterator[Block]]


def read_rows(file_format: str, path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of a file of a format of `affcache.foreign.FORMATS`."""
    module, name = FORMATS[file_format].split(":")
    reader: Reader = getattr(importlib.import_module(module), name)
    return reader(path, wanted)


def choose(names: Sequence[str], wanted: Wanted, path: Path) -> tuple[list[int], dict[str, int]]:
    """Where the features and the single columns are among the names of a table.

    Raises
    ------
    ForeignError
        If a column is not there, or a pattern fits none.
    """
    singles = {}
    for role, column in wanted.singles.items():
        if names.count(column) != 1:
            refuse_column(names, column, path)
        singles[role] = names.index(column)
    if wanted.columns is None:
        return [], singles
    free = [i for i in range(len(names)) if i not in singles.values()]
    for pattern in wanted.columns:
        if not any(fits(names[i], pattern) for i in free):
            refuse_column(names, pattern, path)
    chosen = [
        i
        for i in free
        if any(fits(names[i], p) for p in wanted.columns)
        and not any(fits(names[i], p) for p in wanted.exclude)
    ]
    if not chosen:
        raise ForeignError(f"{path}: every column is excluded, so there is no feature")
    return chosen, singles


def fits(name: str, pattern: str) -> bool:
    """Whether a name is the pattern itself (openSMILE's `mfcc[1]` is), or fits it."""
    return name == pattern or fnmatchcase(name, pattern)


def refuse_column(names: Sequence[str], column: str, path: Path) -> NoReturn:
    """Say which columns there are instead of the one that is not."""
    there = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    count = "is there twice" if names.count(column) > 1 else "is not there"
    raise ForeignError(f"{path}: the column {column!r} {count}; there are: {there:.400}")


def text_blocks(
    rows: Iterator[tuple[int, list[str]]], names: Sequence[str], wanted: Wanted, path: Path
) -> Iterator[Block]:
    """Rows of texts as blocks: the features become numbers, the single columns stay texts."""
    features, singles = choose(names, wanted, path)
    chosen = tuple(names[i] for i in features)
    size = max(1, BLOCK_BYTES // (8 * max(len(features), 1) + 80 * max(len(singles), 1)))
    lines: list[int] = []
    numbers: list[np.ndarray] = []
    texts: list[list[str]] = []

    def block() -> Block:
        columns = list(zip(*texts, strict=True)) if singles else []
        return Block(
            np.array(numbers, np.float64).reshape(len(lines), len(chosen)),
            chosen,
            {role: np.array(column, object) for role, column in zip(singles, columns, strict=True)},
            np.array(lines),
        )

    for line, fields in rows:
        if len(fields) != len(names):
            raise ForeignError(f"{path}, line {line}: {len(fields)} fields, expected {len(names)}")
        lines.append(line)
        numbers.append(_numbers([fields[i] for i in features], chosen, path, line))
        texts.append([fields[i].strip() for i in singles.values()])
        if len(lines) == size:
            yield block()
            lines, numbers, texts = [], [], []
    if lines:
        yield block()


def array_blocks(
    features: Sequence[np.ndarray], names: Sequence[str], singles: Mapping[str, np.ndarray]
) -> Iterator[Block]:
    """Arrays of frames (n, ...) as blocks; trailing dimensions are flattened."""
    arrays = [*features, *singles.values()]
    rows = len(arrays[0])
    widths = [math.prod(array.shape[1:]) for array in features]
    labels = tuple(
        name if width == 1 else f"{name}.{i}"
        for name, width in zip(names, widths, strict=True)
        for i in range(width)
    )
    size = max(1, BLOCK_BYTES // (8 * (sum(widths) + len(singles) + 1)))
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        here = part.stop - start
        yield Block(
            np.concatenate(
                [np.empty((here, 0))]
                + [np.asarray(a[part], np.float64).reshape(here, -1) for a in features],
                axis=1,
            ),
            labels,
            {role: np.asarray(array[part]).reshape(here) for role, array in singles.items()},
            np.arange(start, part.stop),
        )


def number(text: str, what: str, path: Path, line: int) -> float:
    """A number, NaN where the text says that there is none."""
    try:
        return float(text)
    except ValueError:
        if text.strip().lower() in NOTHING:
            return math.nan
    raise ForeignError(f"{path}, line {line}: {what} is {text!r:.60}, expected a number")


def as_numbers(values: np.ndarray, what: str, path: Path, lines: np.ndarray) -> np.ndarray:
    """A single column (n,) as float64, NaN where it says nothing."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    return np.array(
        [number(str(v), what, path, int(k)) for v, k in zip(values, lines, strict=True)], np.float64
    )


def _numbers(fields: list[str], names: Sequence[str], path: Path, line: int) -> np.ndarray:
    try:
        return np.array(list(map(float, fields)))
    except ValueError:
        return np.array([number(f, n, path, line) for f, n in zip(fields, names, strict=True)])
