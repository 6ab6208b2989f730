"""Verification: any changed byte is found, wherever it lies, and repair deletes nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from affcache import publish, store, verify
from affcache.errors import CacheError
from affcache.places import FolderPlace, place
from affcache.verify import Fault
from tests.affcache.copying.packed import packed, rezip
from tests.affcache.test_publish import FIELDS, rows


def consistent(count: int, seed: int) -> dict[str, np.ndarray]:
    arrays = rows(count, seed)
    hidden = ~arrays["valid"]
    arrays["features"][hidden] = 0
    arrays["box"][hidden] = arrays["landmarks"][hidden] = arrays["score"][hidden] = np.nan
    return arrays


def build(path: Path) -> Path:
    publish.create(path, "test", FIELDS, {})
    for seed, video_id in enumerate(("v1", "v2")):
        with publish.VideoWriter(path, video_id, {}) as video:
            video.append(consistent(9, seed))
            source = f"{seed}" * 64
            video.publish(
                {
                    "fps": 25.0,
                    "face": "largest",
                    "source_sha256": source,
                    "fingerprint": publish.video_fingerprint(FIELDS, "largest", source),
                }
            )
        store.write_labels(path, video_id, {"va": np.zeros((9, 2))}, {"subject": video_id})
    store.write_pseudo(path, "readout", {}, {"v1": {"va": np.zeros((9, 2))}})
    publish.quarantine(path, "v3", "v3.mp4", "truncated")
    store.seal(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return build(tmp_path / "x.zarr")


def kinds(faults: list[Fault]) -> set[str]:
    return {fault.kind for fault in faults}


def contents(cache: Path) -> list[Path]:
    private = cache / ".affcache"
    return [*store.sealed_files(cache), private / "seal.json", *private.glob("failed/*")]


def test_a_fresh_cache_is_whole(cache: Path) -> None:
    assert verify.verify(cache) == []
    assert verify.verify(cache, quick=True) == []


def test_any_flipped_byte_of_any_file_is_found(cache: Path) -> None:
    rng = np.random.default_rng(0)
    files = contents(cache)
    for turn in range(600):
        path = files[turn % len(files)]
        before = path.read_bytes()
        data = bytearray(before)
        data[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(data))
        try:
            found = verify.verify(cache)
        except CacheError as error:  # the root's own metadata: it may not even open
            assert path == cache / "zarr.json", error  # noqa: PT017
            found = [Fault(kind="metadata", where="zarr.json", detail=str(error))]
        path.write_bytes(before)
        assert found, path


@pytest.mark.parametrize("change", ["longer", "shorter", "gone", "new"])
def test_added_and_removed_bytes_and_files_are_found(cache: Path, change: str) -> None:
    for path in contents(cache):
        before = path.read_bytes()
        if change == "longer":
            path.write_bytes(before + b" ")
        elif change == "shorter":
            path.write_bytes(before[:-1])
        elif change == "gone":
            path.unlink()
        else:
            (path.parent / "extra").write_bytes(b"x")
        of_no_seal = ".affcache" in path.parts and (
            change == "new" or (change == "gone" and path.parent.name == "failed")
        )
        try:
            found = verify.verify(cache, quick=True)
        except CacheError:
            found = [Fault(kind="metadata", where="zarr.json", detail="does not open")]
        assert found or of_no_seal, path
        (path.parent / "extra").unlink(missing_ok=True)
        path.write_bytes(before)


def test_any_flipped_byte_of_a_packed_file_is_found(cache: Path) -> None:
    """Also of what no seal covers: the zip's own headers, padding and directory."""
    rng = np.random.default_rng(0)
    file = packed(cache)
    whole = file.read_bytes()
    first = [whole.index(name.encode()) for name in place(file).files()]
    headers = rng.choice([at + step for at in first for step in range(-30, 60)], 300)
    anywhere = rng.integers(len(whole) - 9000, len(whole), size=300)
    for at in (*headers, *anywhere, *rng.integers(len(whole), size=100)):
        data = bytearray(whole)
        data[at] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(data))
        try:
            found = verify.verify(file)
        except CacheError:
            continue  # it does not even open
        assert found, at
    file.write_bytes(whole)
    assert verify.verify(file) == []


def test_a_zip_of_another_program_is_whole_if_its_files_are(cache: Path) -> None:
    assert verify.verify(rezip(packed(cache))) == []


def test_an_empty_folder_is_found(cache: Path) -> None:
    (cache / "videos" / "v1" / "new").mkdir()
    faults = verify.verify(cache, quick=True)
    assert [(f.kind, f.where) for f in faults] == [("unlisted", "videos/v1/new")]


def test_a_lock_that_holds_something_is_found(cache: Path) -> None:
    lock = next((cache / ".affcache").rglob("*.lock"))
    lock.write_bytes(b"x")
    faults = verify.verify(cache)
    assert [(f.kind, f.where) for f in faults] == [("bytes", lock.relative_to(cache).as_posix())]


def test_a_cache_that_is_being_written_is_verified_as_far_as_it_is(cache: Path) -> None:
    store.unseal(cache)
    with publish.VideoWriter(cache, "v3", {}) as video:
        video.append(consistent(9, 3))
        assert kinds(verify.verify(cache)) == {"unsealed"}


def test_a_folder_with_an_unsafe_name_is_no_video_and_is_moved_away(cache: Path) -> None:
    for name in ("a\nb", "--help", "x" * 255):
        shutil.copytree(cache / "videos" / "v1", cache / "videos" / name)
        assert store.Cache(cache).video_ids() == ["v1", "v2"]
        faults = verify.verify(cache)
        assert {f.video for f in faults} == {name}
        assert "id" in kinds(faults)
        assert verify.repair(cache, faults) == [f"videos/{name}"]
        store.seal(cache)


def test_a_quick_look_does_not_read_the_data(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FolderPlace.blocks

    def watched(self: FolderPlace, name: str) -> Iterator[bytes]:
        assert name.endswith(".json")
        return real(self, name)

    monkeypatch.setattr(FolderPlace, "blocks", watched)
    assert verify.verify(cache, quick=True) == []


def test_a_fault_names_video_and_array(cache: Path) -> None:
    chunk = cache / "videos" / "v2" / "time" / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[5] ^= 1
    chunk.write_bytes(bytes(data))
    faults = verify.verify(cache)
    assert {(f.video, f.array) for f in faults} == {("v2", "time")}
    assert kinds(faults) >= {"bytes", "checksum"}


def broken(tmp_path: Path, **arrays: np.ndarray) -> list[Fault]:
    path = tmp_path / "broken.zarr"
    publish.create(path, "test", FIELDS, {})
    with publish.VideoWriter(path, "v1", {}) as video:
        video.append(consistent(9, 0) | arrays)
        want = publish.video_fingerprint(FIELDS, "largest", "s")
        video.publish({"face": "largest", "source_sha256": "s", "fingerprint": want})
    store.seal(path)
    return verify.verify(path)


def test_time_must_increase(tmp_path: Path) -> None:
    faults = broken(tmp_path, time=np.zeros(9))
    assert [(f.kind, f.array) for f in faults] == [("values", "time")]


def test_features_without_a_face_must_be_zero(tmp_path: Path) -> None:
    faults = broken(tmp_path, features=np.ones((9, 16)))
    assert [(f.kind, f.array) for f in faults] == [("values", "features")]


def test_boxes_are_missing_exactly_without_a_face(tmp_path: Path) -> None:
    faults = broken(tmp_path, box=np.ones((9, 4)))
    assert [(f.kind, f.array) for f in faults] == [("values", "box")]


def test_another_source_breaks_the_fingerprint(cache: Path) -> None:
    store.unseal(cache)
    attributes = store.Cache(cache).video("v1").attributes
    store.write_group(cache / "videos" / "v1", attributes | {"source_sha256": "else"})
    store.seal(cache)
    assert [(f.kind, f.video) for f in verify.verify(cache)] == [("fingerprint", "v1")]


def test_labels_of_another_length_are_found(cache: Path) -> None:
    with store.unsealed(cache):
        store.write_labels(cache, "v1", {"va": np.zeros((8, 2))}, {})
    assert [(f.kind, f.where) for f in verify.verify(cache)] == [("rows", "labels/v1/va")]


def test_links_out_of_the_cache_are_not_followed(cache: Path, tmp_path: Path) -> None:
    shutil.move(cache / "videos" / "v1" / "features", tmp_path / "elsewhere")
    (cache / "videos" / "v1" / "features").symlink_to(tmp_path / "elsewhere")
    assert kinds(verify.verify(cache)) >= {"unlisted", "missing"}
    with pytest.raises(CacheError, match="symbolic link"):
        store.Cache(cache).video("v1").array("features")
    chunk = cache / "videos" / "v2" / "time" / "c" / "0"
    shutil.move(chunk, tmp_path / "time")
    chunk.symlink_to(tmp_path / "time")
    assert "link" in kinds(verify.verify(cache))
    with pytest.raises(CacheError, match="symbolic link"):
        store.seal(cache)


def test_repair_moves_what_is_broken_and_deletes_nothing(cache: Path) -> None:
    chunk = cache / "videos" / "v2" / "time" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    before = sum(path.stat().st_size for path in (cache / "videos" / "v2").rglob("*"))
    assert verify.repair(cache, verify.verify(cache)) == ["videos/v2"]
    assert store.Cache(cache).video_ids() == ["v1"]
    kept = cache / ".affcache" / "quarantine"
    assert sum(path.stat().st_size for path in next(kept.iterdir()).rglob("*")) == before
    assert kinds(verify.verify(cache)) == {"unsealed"}


def test_the_seal_cannot_be_edited_unnoticed(cache: Path) -> None:
    path = cache / ".affcache" / "seal.json"
    seal = json.loads(path.read_text())
    path.write_text(json.dumps(seal))
    assert [f.kind for f in verify.verify(cache)] == ["seal"]
