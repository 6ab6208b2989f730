"""How a hostile cache is met: everything that reads one, and what a refusal must be."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache import verify
from affcache.copying.contents import contents
from affcache.copying.unpack import packed_contents, write_folder
from affcache.errors import CacheError
from affcache.places import place
from affcache.store import Cache
from affcache.summary import describe
from affcache.windows import load_all
from tests.affcache.copying.packed import rezip, seal_with

LITTLE = 48 << 20  # what refusing may allocate, at most


def use(path: Path) -> None:
    """Everything that reading a cache can mean."""
    cache = Cache(path)
    contents(cache)
    describe(cache)
    for sequence in load_all(path, "va", "backbone"):
        np.asarray(sequence.features).sum()
    if faults := verify.verify(path):
        raise CacheError(f"{len(faults)} faults: {faults[0]}")


def unpack(path: Path) -> None:
    write_folder(packed_contents(path), path.with_name("unpacked.zarr"))


def refused(path: Path, match: str, *ways: Callable[[Path], None]) -> None:
    """Every way in ends in a CacheError of one line, and nothing new lies beside the file."""
    before = set(path.parent.iterdir())
    for way in ways or (use, unpack):
        with pytest.raises(CacheError, match=match) as caught:
            way(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 2000
        assert set(path.parent.iterdir()) == before


def resealed(file: Path, change: dict[str, bytes]) -> Path:
    """A hostile zip whose seal fits what it holds."""
    where = place(file)
    names = [name for name in where.files() if not name.startswith(".affcache/")]
    data = {name: change.get(name, where.read(name)) for name in names}
    data |= {name: body for name, body in change.items() if name not in data}
    seal = seal_with({n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in data.items()})
    extra = {name: body for name, body in change.items() if name not in names}
    return rezip(file, extra, change=change | {".affcache/seal.json": seal})
