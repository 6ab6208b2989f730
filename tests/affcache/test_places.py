"""One suite over every kind of place: a cache's folder and a packed file read alike."""

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from affcache import store, verify, windows
from affcache.errors import CacheError
from affcache.places import FolderPlace, Place, ZipPlace, place
from affcache.store import Cache
from tests.affcache.copying.packed import packed
from tests.caches import make_cache

KINDS = ("folder", "zip")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_cache(tmp_path_factory.mktemp("cache") / "x.zarr", videos=4, frames=90, width=16)
    rows = {video.id: {"va": np.zeros((90, 2))} for video in Cache(path).videos()}
    with store.unsealed(path):
        store.write_pseudo(path, "teacher", {"method": "none"}, rows)
    return path


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return packed(folder)


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, folder: Path, file: Path) -> Path:
    return folder if request.param == "folder" else file


@pytest.fixture
def where(path: Path) -> Place:
    return place(path)


def test_a_path_leads_to_the_place_of_its_kind(folder: Path, file: Path) -> None:
    assert isinstance(place(folder), FolderPlace)
    assert isinstance(place(str(file)), ZipPlace)


def test_both_hold_the_same_files_with_the_same_bytes(where: Place, folder: Path) -> None:
    names = [name for name in where.files() if name == "zarr.json" or name.startswith("videos/")]
    assert names == sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and p.parts[len(folder.parts)] in ("zarr.json", "videos")
    )
    for name in names:
        data = (folder / name).read_bytes()
        assert where.has(name)
        assert where.size(name) == len(data)
        assert where.read(name) == bytes(where.map(name)) == data
        assert b"".join(where.blocks(name, 1000)) == data


def test_blocks_are_no_longer_than_asked_for(where: Place) -> None:
    blocks = list(where.blocks("videos/v00/features/c/0/0", 1000))
    assert {len(block) for block in blocks[:-1]} == {1000}


def test_members_lists_one_level(where: Place) -> None:
    assert where.members("labels") == ["v00", "v01", "v02", "v03", "zarr.json"]
    assert where.members("videos/v00/time") == ["c", "zarr.json"]
    assert set(where.members("")) >= {"labels", "pseudo", "videos", "zarr.json"}
    assert where.members("nothing") == where.members("zarr.json") == []


@pytest.mark.parametrize("name", ["videos/v9/zarr.json", "x" * 300, "videos", "zarr.json/x"])
def test_what_is_not_there_is_missing(where: Place, name: str) -> None:
    assert not where.has(name)
    for read in (where.size, where.read, where.map, lambda name: list(where.blocks(name))):
        with pytest.raises(CacheError, match=r"missing|plain file"):
            read(name)


def test_a_map_cannot_be_written_to(where: Place) -> None:
    assert where.map("videos/v00/valid/c/0").readonly


def test_maps_outlive_the_place_they_came_from(path: Path) -> None:
    arrays = [video.array("features") for video in Cache(path).videos()]
    assert all(np.isfinite(array).all() for array in arrays)


def test_a_cache_is_whole_in_every_place(path: Path) -> None:
    assert verify.verify(path) == []
    assert verify.verify(path, quick=True) == []


def test_readers_see_the_same_cache(path: Path, folder: Path) -> None:
    cache, want = Cache(path), Cache(folder)
    assert cache.header == want.header
    assert cache.video_ids() == want.video_ids()
    assert cache.pseudo_attributes("teacher") == {"method": "none"}
    for mine, theirs in zip(cache.videos(), want.videos(), strict=True):
        assert mine.attributes == theirs.attributes
        assert mine.label_attributes == theirs.label_attributes
        np.testing.assert_array_equal(mine.array("features"), theirs.array("features"))
        np.testing.assert_array_equal(mine.label("va"), theirs.label("va"))
        np.testing.assert_array_equal(mine.pseudo("teacher", "va"), np.zeros((90, 2)))


def test_windows_are_the_same_and_are_views_of_the_map(path: Path, folder: Path) -> None:
    here = windows.load_split(path, "va", "backbone", "train")
    there = windows.load_split(folder, "va", "backbone", "train")
    ours = windows.RandomWindows(here, batch=4, seed=3)
    theirs = windows.RandomWindows(there, batch=4, seed=3)
    for k in range(5):
        for mine, want in zip(ours.batch(k), theirs.batch(k), strict=True):
            np.testing.assert_array_equal(mine, want)
    assert not any(sequence.features.flags.owndata for sequence in here)
    assert not any(sequence.features.flags.writeable for sequence in here)


def test_plain_zarr_and_xarray_read_it(path: Path, folder: Path) -> None:
    at = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
    group = zarr.open_group(at, mode="r")
    assert group.metadata.consolidated_metadata is not None
    want = Cache(folder).video("v01")
    np.testing.assert_array_equal(group["videos/v01/features"][:], want.array("features"))
    dataset = xarray.open_zarr(at, group="videos/v01", consolidated=False)
    np.testing.assert_array_equal(dataset["box"].values, want.array("box"))
    assert dict(dataset.sizes)["frame"] == 90
    if path.is_file():
        at.close()


def test_a_missing_folder_is_an_empty_place(tmp_path: Path) -> None:
    assert FolderPlace(tmp_path / "none").files() == []


def test_folders_that_are_nested_absurdly_deep_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    with pytest.raises(CacheError, match="too deep"):
        FolderPlace(tmp_path).files()


def test_links_are_listed_but_neither_followed_nor_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    home = tmp_path / "home"
    (home / "real").mkdir(parents=True)
    (home / "folder").symlink_to(outside)
    (home / "real" / "file").symlink_to(outside / "secret")
    where = FolderPlace(home)
    assert where.files() == ["folder", "real/file"]
    for name in ("folder/secret", "real/file"):
        for read in (where.read, where.map, where.size, lambda name: list(where.blocks(name))):
            with pytest.raises(CacheError, match="symbolic link"):
                read(name)


def test_metadata_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "zarr.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CacheError, match="too large for metadata"):
        FolderPlace(tmp_path).read("zarr.json")


def test_what_is_neither_folder_nor_zip_says_so(tmp_path: Path) -> None:
    for data in (b"", b"PK", b"hello" * 100, b"PK\5\6" * 1000):
        (tmp_path / "x.zip").write_bytes(data)
        with pytest.raises(CacheError, match=r"neither a cache's folder nor a zip"):
            place(tmp_path / "x.zip")
