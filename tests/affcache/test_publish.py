"""Publishing: a video is in the cache whole or not at all, whoever dies when."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from affcache import publish, store
from affcache.errors import CacheError, StorageError
from affcache.store import Cache

FIELDS = {"format": 1, "detector": {"name": "mtcnn", "side": 320}}


def rows(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "features": rng.normal(size=(count, 16)),
        "valid": rng.random(count) > 0.3,
        "time": np.arange(count) / 25,
        "box": rng.random((count, 4)),
        "landmarks": rng.random((count, 5, 2)),
        "score": rng.random(count),
    }


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    publish.create(tmp_path / "x.zarr", "test", FIELDS, {"program": "affcache"})
    return tmp_path / "x.zarr"


def write(cache: Path, video_id: str, count: int = 9, seed: int = 0) -> None:
    with publish.claim(cache, video_id) as mine, publish.VideoWriter(cache, video_id, {}) as video:
        assert mine
        video.append(rows(count, seed))
        video.publish({"fps": 25.0, "fingerprint": "f"})


def test_a_published_video_is_read_back(cache: Path) -> None:
    write(cache, "v1")
    video = Cache(cache).video("v1")
    assert len(video) == 9
    np.testing.assert_array_equal(video.array("features"), rows(9)["features"].astype("f2"))
    assert video.attributes["fps"] == 25.0


def test_a_video_that_breaks_half_way_leaves_nothing(cache: Path) -> None:
    with pytest.raises(RuntimeError), publish.VideoWriter(cache, "v1", {}) as video:
        video.append(rows(9))
        raise RuntimeError
    assert Cache(cache).video_ids() == []
    assert not (cache / ".affcache" / "partial" / "v1").exists()


def test_a_video_without_frames_is_refused(cache: Path) -> None:
    with publish.VideoWriter(cache, "v1", {}) as video, pytest.raises(CacheError, match="0 frames"):
        video.publish({})


def test_arrays_of_unequal_rows_are_refused(cache: Path) -> None:
    with publish.VideoWriter(cache, "v1", {}) as video, pytest.raises(CacheError, match="unequal"):
        video.append(rows(9) | {"time": np.zeros(8)})


def test_a_second_publish_replaces_the_first(cache: Path) -> None:
    write(cache, "v1", seed=0)
    write(cache, "v1", count=4, seed=1)
    assert len(Cache(cache).video("v1")) == 4
    assert [p.name for p in (cache / "videos").iterdir() if p.is_dir()] == ["v1"]


def test_a_claimed_video_is_not_claimed_twice(cache: Path) -> None:
    with publish.claim(cache, "v1") as first, publish.claim(cache, "v1") as second:
        assert (first, second) == (True, False)
    with publish.claim(cache, "v1") as again:
        assert again


def hold_forever(cache: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with publish.claim(cache, "v1"), publish.VideoWriter(cache, "v1", {}) as video:
        video.append(rows(5))
        ready.set()
        signal.pause()


def test_a_dead_writers_claim_and_leftovers_are_taken_over(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold_forever, args=(cache, ready))
    holder.start()
    assert ready.wait(60)
    with publish.claim(cache, "v1") as mine:
        assert not mine
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert Cache(cache).video_ids() == []
    write(cache, "v1")
    np.testing.assert_array_equal(Cache(cache).video("v1").array("valid"), rows(9)["valid"])


@pytest.mark.parametrize("video_id", ["", "..", "a/b", ".hidden", "a b", "x" * 201, "a\n"])
def test_an_unsafe_id_cannot_be_claimed(cache: Path, video_id: str) -> None:
    with pytest.raises(CacheError, match="safe"), publish.claim(cache, video_id):
        raise AssertionError


def test_another_fingerprint_is_refused_and_the_difference_named(cache: Path) -> None:
    with pytest.raises(CacheError, match=r"detector\.side: 320 there, 640 now"):
        publish.create(cache, "test", {"format": 1, "detector": {"name": "mtcnn", "side": 640}}, {})


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(CacheError, match="not empty and not a cache"):
        publish.create(tmp_path, "test", FIELDS, {})
    assert [p.name for p in tmp_path.iterdir() if p.name != ".affcache"] == ["thesis.tex"]


def test_a_cache_at_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").write_text("")
    with pytest.raises(CacheError, match="is a file"):
        publish.create(tmp_path / "x.zarr", "test", FIELDS, {})


def test_fingerprints_ignore_the_order_of_keys_and_nothing_else() -> None:
    same = {"detector": {"side": 320, "name": "mtcnn"}, "format": 1}
    assert store.fingerprint(FIELDS) == store.fingerprint(same)
    assert store.fingerprint(FIELDS) != store.fingerprint(FIELDS | {"format": 2})
    assert publish.video_fingerprint(FIELDS, "left", "s") != publish.video_fingerprint(
        FIELDS, "right", "s"
    )


def test_a_quarantined_video_is_remembered_until_it_is_published(cache: Path) -> None:
    publish.quarantine(cache, "v1", "a/v1.mp4", "truncated")
    failed = cache / ".affcache" / "failed" / "v1.json"
    assert "truncated" in failed.read_text()
    publish.release(cache, "v1")
    assert not failed.exists()


def test_plain_zarr_and_xarray_open_a_sealed_cache(cache: Path) -> None:
    write(cache, "v1")
    store.write_labels(cache, "v1", {"va": np.zeros((9, 2))}, {"subject": "s1"})
    store.seal(cache)
    group = zarr.open_group(cache, mode="r")
    assert group.metadata.consolidated_metadata is not None
    np.testing.assert_array_equal(group["videos/v1/valid"][:], rows(9)["valid"])
    dataset = xarray.open_zarr(cache, group="videos/v1")
    assert dict(dataset.sizes) == {
        "frame": 9, "feature": 16, "corner": 4, "landmark": 5, "xy": 2
    }  # fmt: skip
    assert group["labels/v1"].attrs["subject"] == "s1"


def test_a_place_that_cannot_hold_a_cache_is_one_line_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"x\.zarr: cannot hold a cache \(Not a directory\)"):
        publish.create(tmp_path / "file" / "x.zarr", "d", FIELDS, {})
