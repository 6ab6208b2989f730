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


def read_npz(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the arrays of an NPZ file."""
    with _clear(path), np.load(path, allow_pickle=False) as file:
        if isinstance(file, np.ndarray):
            raise ForeignError(f"{path}: is one array; say format = 'npy'")
        yield from blocks(file.files, file.__getitem__, wanted, path)


def read_npy(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the one array of an NPY file."""
    with _clear(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ForeignError(f"{path}: holds several arrays; say format = 'npz'")
        yield from blocks(["data"], lambda _: array, wanted, path)


@contextmanager
def _clear(path: Path) -> Iterator[None]:
    """What numpy finds wrong with a file, as one line that names it."""
    try:
        yield
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ForeignError(f"{path}: not readable as NumPy's arrays ({text})") from None
