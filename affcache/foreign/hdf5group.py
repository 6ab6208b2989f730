"""HDF5: one file a video, or one file of all with a group or a single array for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from affcache.errors import ForeignError
from affcache.foreign.arrays import blocks
from affcache.foreign.rows import Block, Wanted


def read(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the arrays of a group (`wanted.group`), those below it named by their paths.

    Where the group is an array itself, that one is called `data`.
    """
    with _opened(path) as file:
        group = file[wanted.group] if wanted.group else file
        if isinstance(group, h5py.Dataset):
            arrays = {"data": group} if _holds(group) else {}
        else:
            arrays = _below(group, h5py.Dataset)
        yield from blocks(list(arrays), arrays.__getitem__, wanted, path)


def members(path: Path) -> tuple[list[str], list[str]]:
    """Names of all groups of a file, and of all arrays, among which ids are looked for."""
    with _opened(path) as file:
        return list(_below(file, h5py.Group)), list(_below(file, h5py.Dataset))


def has(path: Path, group: str) -> bool:
    """Whether a file has a group or an array of that name."""
    with _opened(path) as file:
        return group in file


def _holds(item: Any) -> bool:
    """Whether an item's data lies in the file itself."""
    return not isinstance(item, h5py.Dataset) or not (item.external or item.is_virtual)


def _below(group: h5py.Group, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, kind) and _holds(item):
            found[name] = item

    group.visititems(note)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ForeignError(f"{path}: not readable as HDF5 ({error})") from None
