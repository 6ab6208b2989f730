"""The cache as its readers see it, and the seal that says what every file was."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affcache import arrays, places, publish, seals, store, verify
from affcache.errors import CacheError
from affcache.places import place
from affcache.store import Cache
from tests.affcache.test_publish import FIELDS, write
from tests.caches import make_cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    publish.create(tmp_path / "x.zarr", "test", FIELDS, {})
    for video_id in ("v2", "v1"):
        write(tmp_path / "x.zarr", video_id)
    return tmp_path / "x.zarr"


def hashes(cache: Path) -> dict[str, str]:
    return {
        path.relative_to(cache).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in cache.rglob("*")
        if path.is_file() and ".affcache" not in path.parts
    }


def data(cache: Path) -> list[Path]:
    return [path for path in cache.glob("videos/**/*") if path.is_file()]


def sealed(cache: Path) -> dict[str, str]:
    document = json.loads((cache / ".affcache" / "seal.json").read_text())
    return {name: entry["sha256"] for name, entry in document["files"].items()}


def test_videos_come_in_the_order_of_their_ids(cache: Path) -> None:
    assert [video.id for video in Cache(cache).videos()] == ["v1", "v2"]


def test_the_seal_lists_every_file_with_its_hash(cache: Path) -> None:
    store.seal(cache)
    assert sealed(cache) == hashes(cache)


def test_a_seal_after_a_change_is_as_true_as_a_first_one(cache: Path) -> None:
    store.seal(cache)
    with store.unsealed(cache):
        write(cache, "v1", count=9, seed=5)
        write(cache, "v3")
        store.write_labels(cache, "v2", {"expr": np.zeros(9)}, {})
    assert sealed(cache) == hashes(cache)


def test_a_cache_that_is_being_changed_carries_no_seal_and_no_stale_metadata(cache: Path) -> None:
    store.seal(cache)
    with store.unsealed(cache):
        assert not (cache / ".affcache" / "seal.json").exists()
        assert "consolidated_metadata" not in json.loads((cache / "zarr.json").read_text())


def test_annotating_again_touches_no_feature(cache: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data(cache)}
    for seed in range(2):
        labels = np.random.default_rng(seed).uniform(-1, 1, (9, 2))
        store.write_labels(cache, "v1", {"va": labels}, {"subject": "s", "split": {"va": "train"}})
        read = Cache(cache).video("v1")
        np.testing.assert_array_equal(read.label("va"), labels.astype("f4"))
        assert read.label_attributes["split"] == {"va": "train"}
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data(cache)}


def test_what_is_not_annotated_is_none_and_not_an_error(cache: Path) -> None:
    video = Cache(cache).video("v1")
    assert video.label("va") is None
    assert video.pseudo("readout", "va") is None
    assert video.pseudo("backbone", "va") is None
    assert video.label_attributes == {}


def test_pseudo_labels_lie_beside_the_labels_under_their_name(cache: Path) -> None:
    values = np.linspace(-1, 1, 18).reshape(9, 2)
    store.write_pseudo(cache, "readout", {"method": "ridge"}, {"v1": {"va": values}})
    read = Cache(cache)
    assert read.pseudo_names() == ["readout"]
    assert read.pseudo_attributes("readout") == {"method": "ridge"}
    np.testing.assert_array_equal(read.video("v1").pseudo("readout", "va"), values.astype("f4"))


@pytest.mark.parametrize("name", ["backbone", "../x", ""])
def test_a_set_of_pseudo_labels_needs_a_name_of_its_own(cache: Path, name: str) -> None:
    with pytest.raises(CacheError, match="pseudo-labels"):
        store.write_pseudo(cache, name, {}, {})


def test_a_folder_without_a_cache_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="affcache extract"):
        Cache(tmp_path)


def test_a_zarr_group_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    store.write_group(tmp_path, {"title": "weather"})
    with pytest.raises(CacheError, match="not an affcache cache"):
        Cache(tmp_path)


def test_a_newer_format_asks_for_a_newer_program(tmp_path: Path) -> None:
    store.write_group(tmp_path, {"affcache": {"format_version": 2}})
    with pytest.raises(CacheError, match="update affcache"):
        Cache(tmp_path)


@pytest.mark.parametrize("video_id", ["v9", "../labels", ""])
def test_a_video_that_is_not_there_is_named(cache: Path, video_id: str) -> None:
    with pytest.raises(CacheError, match="has no video"):
        Cache(cache).video(video_id)


def test_a_change_that_fails_is_sealed_as_far_as_it_came(cache: Path) -> None:
    store.seal(cache)
    with pytest.raises(KeyboardInterrupt), store.unsealed(cache):
        write(cache, "v3")
        raise KeyboardInterrupt
    assert sealed(cache) == hashes(cache)
    assert Cache(cache).video_ids() == ["v1", "v2", "v3"]


def test_opening_reads_the_header_and_not_the_copy_of_everybodys_metadata(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.seal(cache)
    root = json.loads((cache / "zarr.json").read_text())
    assert root["consolidated_metadata"]["metadata"]
    with monkeypatch.context() as patch:
        patch.setattr(store, "read_object", lambda *_: pytest.fail("reads it all"))
        assert Cache(cache).attributes == root["attributes"]
    (cache / "zarr.json").write_text(json.dumps(root))  # somebody else's spelling
    assert Cache(cache).attributes == root["attributes"]


def test_a_cache_whose_seal_is_long_is_sealed_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.seal(cache)
    monkeypatch.setattr(places, "METADATA_BYTES", 64)  # as if its two videos were two thousand
    monkeypatch.setattr(places, "METADATA_BYTES_A_FILE", 300)
    with store.unsealed(cache):
        write(cache, "v3")
    assert sealed(cache) == hashes(cache)


def test_long_attributes_of_many_videos_fit_into_the_roots_copy(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for video_id in ("v1", "v2"):
        document = json.loads((cache / "videos" / video_id / "zarr.json").read_text())
        document["attributes"]["said"] = "and then " * 1000
        (cache / "videos" / video_id / "zarr.json").write_text(json.dumps(document))
    monkeypatch.setattr(places, "METADATA_BYTES", 10_000)
    monkeypatch.setattr(places, "METADATA_BYTES_A_FILE", 300)
    with store.unsealed(cache):
        pass
    root = place(cache).read("zarr.json")
    assert root.count(b"and then") == 2000
    (cache / "zarr.json").write_bytes(root + b" " * 60_000)
    with pytest.raises(CacheError, match="too large for metadata"):
        place(cache).read("zarr.json")


def test_changing_and_verifying_never_hold_the_copy_as_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path / "x.zarr", videos=2, frames=5)
    parse = arrays.parsed_object

    def parsed(data: bytes, at: str) -> dict[str, Any]:
        assert b"consolidated_metadata" not in data
        return parse(data, at)

    monkeypatch.setattr(arrays, "parsed_object", parsed)
    with store.unsealed(cache):
        pass
    assert not verify.verify(cache)


def test_a_seal_is_spelled_as_every_other_document() -> None:
    for names in ([], ["zarr.json", 'videos/ä"b/zarr.json', "videos/zarr.json"]):
        files = {name: {"bytes": 12, "sha256": "ab" * 32} for name in names}
        spelled = arrays.json_bytes({"format_version": 1, "files": files})
        assert seals.seal_bytes({name: seals.Sealed(12, "ab" * 32) for name in names}) == spelled


def test_the_roots_copy_is_spelled_as_every_other_document(tmp_path: Path) -> None:
    for videos in (0, 2):
        root = make_cache(tmp_path / f"{videos}.zarr", videos=videos, frames=5) / "zarr.json"
        document = json.loads(root.read_bytes())
        copy = document["consolidated_metadata"]["metadata"]
        assert root.read_bytes() == json.dumps(document, indent=1, sort_keys=True).encode()
        assert set(copy) == {
            path.parent.relative_to(root.parent).as_posix()
            for path in root.parent.glob("*/**/zarr.json")
        }
