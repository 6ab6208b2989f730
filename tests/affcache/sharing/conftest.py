"""The places that sharing is tested on, and the cache that is shared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from affcache import store, verify
from tests.affcache.sharing.servers import SSHD, Site, s3_site, sftp_site, sshd_site
from tests.caches import make_cache

KINDS = ("folder", "memory", "sftp", "sshd", "s3")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of two videos with labels and a set of pseudo-labels; not to be changed."""
    return make_shared(tmp_path_factory.mktemp("original") / "a.zarr", videos=2)


def make_shared(path: Path, *, videos: int, seed: int = 0) -> Path:
    make_cache(path, videos=videos, frames=30, width=8, seed=seed)
    rows = {v.id: {"va": np.zeros((len(v), 2))} for v in store.Cache(path).videos()}
    with store.unsealed(path):
        store.write_pseudo(path, "readout", {"method": "none"}, rows)
    assert verify.verify(path) == []
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[Site]:
    with s3_site() as site:
        yield site


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sftp_site(tmp_path_factory.mktemp("sftp")) as site:
        yield site


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sshd_site(tmp_path_factory.mktemp("sshd")) as site:
        yield site


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """An empty place of every kind."""
    return empty_site(request.param, request, tmp_path)


@pytest.fixture(params=["folder", "memory"])
def quick_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """An empty place with and one without folders, both without a network."""
    return empty_site(request.param, request, tmp_path)


def empty_site(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    name = f"{next(_numbers)}.zarr"
    if kind == "folder":
        return Site(f"file://{tmp_path}/{name}", {}, tmp_path / name)
    if kind == "memory":
        request.addfinalizer(fsspec.filesystem("memory").store.clear)
        return Site(f"memory://{name}", {}, None)
    if kind == "sshd" and SSHD is None:
        pytest.skip("OpenSSH's server is not installed; the one in this process stands in for it")
    there: Site = request.getfixturevalue(kind)
    folder = there.folder.with_name(name) if there.folder is not None else None
    return Site(there.url.replace("x.zarr", name), there.options, folder, there.port)


def contents(cache: Path) -> dict[str, bytes]:
    """Every sealed file's bytes, and the seal's."""
    paths = [*store.sealed_files(cache), cache / ".affcache" / "seal.json"]
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in paths}
