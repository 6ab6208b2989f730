"""The notebook's view of a cache, and every example in a docstring, run."""

import doctest
import importlib
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray

import affcache
from affcache import store
from affcache.copying.contents import contents
from affcache.copying.pack import write_pack
from affcache.errors import CacheError
from affcache.store import Cache
from tests.caches import make_cache
from tests.test_laws import ROOT

MODULES = sorted(
    ["affcache", *(m.name for m in pkgutil.walk_packages(affcache.__path__, "affcache."))]
)
EXAMPLES = [
    name
    for name in MODULES
    if name != "affcache.__main__"
    and ">>>" in Path(importlib.util.find_spec(name).origin).read_text()
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("notebook") / "x.zarr", width=64, gaps=False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_do_what_they_say(name: str, path: Path) -> None:
    module = importlib.import_module(name)
    names = {"path": path, "affcache": affcache}
    done = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert done.failed == 0
    assert done.attempted > 0


def test_importing_affcache_imports_nothing_else() -> None:
    program = "import sys, affcache; print([m for m in ('numpy', 'zarr') if m in sys.modules])"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
    assert "open" in dir(affcache)
    with pytest.raises(AttributeError, match="'affcache' has no attribute 'opne'"):
        affcache.__getattr__("opne")


def test_a_slice_is_a_view_of_the_file(path: Path) -> None:
    video = affcache.open(path).video("v01")
    part = video.features[5:9]
    assert not part.flags.writeable
    assert not part.flags.owndata
    np.testing.assert_array_equal(part, Cache(path).video("v01").array("features")[5:9])
    with pytest.raises(CacheError, match="v01 has no array 'faces', but box, features"):
        video["faces"]


def test_xarray_has_every_array_with_its_dimensions_and_names(path: Path, tmp_path: Path) -> None:
    copy = make_cache(tmp_path / "x.zarr", videos=1, frames=30, width=8, subjects=1)
    with store.unsealed(copy):
        labels = {
            "va": np.zeros((30, 2)),
            "expr": np.zeros(30),
            "au": np.ones((30, 12)),
            "au_intensity": np.full((30, 3), 2.5),
        }
        store.write_labels(copy, "v00", labels, {"subject": "p", "split": {"va": "train"}})
        rows = {"v00": {"va": np.full((30, 2), 0.5)}}
        store.write_pseudo(copy, "readout", {}, rows)
    video = affcache.open(copy).video("v00")
    data = video.to_xarray()
    assert isinstance(data, xarray.Dataset)
    for name in video.arrays:
        np.testing.assert_array_equal(data[name], video[name])
    for task, values in video.labels.items():
        np.testing.assert_array_equal(data[f"label_{task}"], values)
    assert float(data.readout_va.sel(dimension="arousal")[3]) == 0.5
    assert int(data.label_au.sel(au=12)[0]) == 1
    assert data.label_au_intensity.dims == ("frame", "intensity")
    assert data.landmarks.dims == ("frame", "landmark", "xy")
    assert data.attrs["subject"] == "p"
    assert video.pseudo["readout"]["va"].shape == (30, 2)


def test_a_video_without_labels_has_none(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "x.zarr", videos=1, frames=9, width=4, labelled=False)
    video = affcache.open(path).video("v00")
    assert (video.labels, video.split, video.subject) == ({}, {}, None)
    assert repr(video) == "<video 'v00': 9 frames of 4 features>"
    assert affcache.open(path).table()[0]["frames"] == 9


def test_without_xarray_the_way_to_it_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(CacheError, match="pip install xarray"):
        affcache.open(path).video("v00").to_xarray()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "packed"])
def test_a_cache_and_its_videos_go_to_another_process(
    path: Path, tmp_path: Path, packed: bool
) -> None:
    if packed:
        write_pack(contents(Cache(path)), tmp_path / "x.zarr.zip")
    cache = affcache.open(tmp_path / "x.zarr.zip" if packed else path)
    for video in (
        pickle.loads(pickle.dumps(cache)).video("v01"),
        pickle.loads(pickle.dumps(cache.video("v01"))),
    ):
        np.testing.assert_array_equal(video.features, cache.video("v01").features)


def test_whether_a_video_is_there_is_told_without_a_list_of_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = affcache.open(path)
    monkeypatch.setattr(Cache, "video_ids", lambda _: pytest.fail("listed"))
    assert "v01" in cache
    assert "v99" not in cache
    assert None not in cache
    assert "../v01" not in cache
