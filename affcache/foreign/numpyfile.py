"""NPZ (named arrays) and NPY (one array, called `data`): never unpickled, NPY mapped."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from affcache.errors import ForeignError
from affcache.foreign.arrays import blocks
from affcache.foreign.rows import Block, Wanted

BEGINNINGS = {"npz": b"PK", "npy": b"\x93NUMPY"}


def read_npz(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the arrays of an NPZ file."""
    _check_kind(path, "npz")
    with _clear(path), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield from blocks(arrays.files, arrays.__getitem__, wanted, path)


def read_npy(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the one array of an NPY file."""
    _check_kind(path, "npy")
    with _clear(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        yield from blocks(["data"], lambda _: array, wanted, path)


def _check_kind(path: Path, wanted: str) -> None:
    with path.open("rb") as file:
        beginning = file.read(8)
    for kind, magic in BEGINNINGS.items():
        if kind != wanted and beginning.startswith(magic):
            raise ForeignError(f"{path}: is an {kind.upper()} file; say format = {kind!r}")
    if not beginning.startswith(BEGINNINGS[wanted]):
        raise ForeignError(f"{path}: not readable as NumPy's arrays (no {wanted.upper()} file)")


@contextmanager
def _clear(path: Path) -> Iterator[None]:
    """What numpy finds wrong with a file, as one line that names it."""
    try:
        yield
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ForeignError(f"{path}: not readable as NumPy's arrays ({text})") from None
