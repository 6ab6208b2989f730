"""HDF5: datasets of frames in one file a video, or in one group a video of one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from affcache.errors import ForeignError
from affcache.foreign.arrays import blocks
from affcache.foreign.rows import Block, Wanted


def read(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of the datasets of a group (`wanted.group`), datasets below it named by path."""
    with _opened(path) as file:
        group = file[wanted.group] if wanted.group else file
        names: list[str] = []
        group.visititems(lambda name, item: _note(names, name, item))
        yield from blocks(names, group.__getitem__, wanted, path)


def groups(path: Path) -> list[str]:
    """Names of all groups of a file, in which ids are looked for."""
    names: list[str] = []
    with _opened(path) as file:
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Group) else None
        )
    return names


def _note(names: list[str], name: str, item: object) -> None:
    if isinstance(item, h5py.Dataset) and not item.external:
        names.append(name)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise ForeignError(f"{path}: not readable as HDF5 ({error})") from None
