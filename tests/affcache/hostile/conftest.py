"""One honest cache, as a folder and packed, which every attack is made of."""

import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.affcache.copying.packed import packed
from tests.affcache.hostile.ways import LITTLE
from tests.caches import make_cache


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache") / "x.zarr", videos=2, frames=40, width=8)


@pytest.fixture(scope="module")
def honest(made: Path) -> Path:
    return packed(made)


@pytest.fixture
def file(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(honest, tmp_path / "x.zarr.zip"))


@pytest.fixture
def cache(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "x.zarr"))


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No test of this file may need much memory, whatever a hostile cache declares."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE, f"{peak >> 20} MiB"
