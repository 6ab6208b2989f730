"""Packing: one file, aligned, the same every time, made whole or not at all."""

import fcntl
import io
import multiprocessing
import os
import re
import shutil
import time
import zipfile
import zlib
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affcache import store, verify, zips
from affcache.copying import pack
from affcache.copying.contents import File
from affcache.errors import CacheError, StorageError
from affcache.places import ZipPlace
from tests.affcache.copying.packed import outside, pack_and_unpack, packed, tree, unpacked
from tests.caches import make_cache


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache") / "x.zarr", videos=3, frames=60, width=8)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that begin with everything imported, so that a kill hits the writing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.affcache.copying.packed"])
    return context


@pytest.fixture
def cache(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "x.zarr")
    return tmp_path / "x.zarr"


def test_a_cache_comes_back_from_its_pack_byte_for_byte(cache: Path) -> None:
    assert tree(unpacked(packed(cache))) == tree(cache)


def test_a_cache_comes_back_from_its_compressed_pack_byte_for_byte(cache: Path) -> None:
    file = packed(cache, compress=True)
    assert file.stat().st_size < packed(cache, "y.zarr.zip").stat().st_size
    assert tree(unpacked(file)) == tree(cache)


@pytest.mark.parametrize("compress", [False, True])
def test_pythons_own_library_finds_nothing_to_complain_about(cache: Path, compress: bool) -> None:
    with zipfile.ZipFile(packed(cache, compress=compress)) as archive:
        assert archive.testzip() is None
        assert {n: archive.read(n) for n in archive.namelist()} == tree(cache)
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}


def test_data_begin_at_multiples_of_64_bytes(cache: Path) -> None:
    where = ZipPlace(packed(cache))
    for name in where.files():
        address = np.frombuffer(where.map(name), np.uint8).ctypes.data
        assert address % 64 == 0, name


def test_the_same_cache_gives_the_same_bytes_whatever_its_times(cache: Path) -> None:
    first = packed(cache).read_bytes()
    for path in cache.rglob("*"):
        os.utime(path, (1, 1))
    copy = cache.with_name("copy.zarr")
    shutil.copytree(cache, copy)
    assert packed(copy, "y.zarr.zip").read_bytes() == first
    assert packed(packed(cache, "a.zip"), "z.zarr.zip").read_bytes() == first


def test_a_pack_of_an_unpacked_pack_is_the_same_pack(cache: Path) -> None:
    file = packed(cache)
    assert packed(unpacked(file), "again.zarr.zip").read_bytes() == file.read_bytes()


def test_a_cache_without_a_seal_is_hashed_and_that_is_said(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    want = tree(cache)
    store.unseal(cache)
    file = packed(cache)
    assert "has no seal" in capsys.readouterr().err
    assert tree(unpacked(file)) == want


@pytest.mark.parametrize("compress", [False, True])
def test_a_corrupt_source_is_refused_by_name_and_nothing_is_made(
    cache: Path, compress: bool
) -> None:
    chunk = cache / "videos" / "v01" / "time" / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[7] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(CacheError, match=r"videos/v01/time/c/0 is not what the seal says"):
        packed(cache, compress=compress)
    assert outside(cache.parent, cache) == []


@pytest.mark.parametrize("change", [b"", b"x" * 5000])
def test_a_source_of_another_length_is_refused(cache: Path, change: bytes) -> None:
    (cache / "videos" / "v01" / "time" / "c" / "0").write_bytes(change)
    with pytest.raises(CacheError, match="videos/v01/time"):
        packed(cache)


def test_a_file_that_is_missing_is_named(cache: Path) -> None:
    (cache / "videos" / "v01" / "time" / "c" / "0").unlink()
    with pytest.raises(CacheError, match=r"videos/v01/time/c/0: missing"):
        packed(cache)
    assert outside(cache.parent, cache) == []


def test_a_file_that_is_there_gives_way_only_when_asked(cache: Path) -> None:
    (cache.parent / "x.zarr.zip").write_text("precious")
    with pytest.raises(CacheError, match="is there already"):
        packed(cache)
    assert (cache.parent / "x.zarr.zip").read_text() == "precious"
    assert verify.verify(packed(cache, replace=True)) == []


def test_a_folder_never_gives_way(cache: Path) -> None:
    (cache.parent / "x.zarr.zip" / "inner").mkdir(parents=True)
    with pytest.raises(CacheError, match="is there already"):
        packed(cache, replace=True)


def test_what_a_dead_writer_left_is_taken_over(cache: Path) -> None:
    (cache.parent / ".x.zarr.zip.partial").write_bytes(b"x" * 1_000_000)
    assert verify.verify(packed(cache)) == []
    assert outside(cache.parent, cache, cache.parent / "x.zarr.zip") == []


def test_a_living_writer_is_left_alone(cache: Path) -> None:
    partial = cache.parent / ".x.zarr.zip.partial"
    with partial.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CacheError, match="being written by another process"):
            packed(cache)
    assert partial.exists()


def test_a_kill_at_any_moment_leaves_nothing_or_everything(
    made: Path, tmp_path: Path, context: ForkServerContext
) -> None:
    """Packing and unpacking, killed at moments spread over a run; the next run completes."""
    file = packed(made, "whole.zarr.zip", replace=True)
    began = time.monotonic()
    process = context.Process(target=pack_and_unpack, args=(made, tmp_path / "timed"))
    process.start()
    process.join()
    length = time.monotonic() - began
    for turn in range(20):
        folder = tmp_path / f"{turn}"
        process = context.Process(target=pack_and_unpack, args=(made, folder))
        process.start()
        time.sleep(length * turn / 20)
        process.kill()
        process.join()
        if (folder / "x.zarr.zip").exists():
            assert (folder / "x.zarr.zip").read_bytes() == file.read_bytes()
        if (folder / "x.zarr").exists():
            assert tree(folder / "x.zarr") == tree(made)
            shutil.rmtree(folder / "x.zarr")
        (folder / "x.zarr.zip").unlink(missing_ok=True)
        pack_and_unpack(made, folder)
        assert tree(folder / "x.zarr") == tree(made)
        assert sorted(path.name for path in folder.iterdir()) == ["x.zarr", "x.zarr.zip"]


def test_a_link_in_the_place_of_the_partial_file_is_not_written_through(cache: Path) -> None:
    precious = cache.parent / "precious"
    precious.write_text("precious")
    (cache.parent / ".x.zarr.zip.partial").symlink_to(precious)
    with pytest.raises(StorageError):
        packed(cache)
    assert precious.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_one_line(cache: Path) -> None:
    with pytest.raises(CacheError, match="there is no folder") as caught:
        packed(cache, "nowhere/x.zarr.zip")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match=r"No space left on device.*make room"):
            packed(cache)
    assert outside(cache.parent, cache) == []


def test_zip64_fields_are_written_where_they_are_needed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = packed(cache)
    with monkeypatch.context() as patch:
        patch.setattr(zips, "LARGEST_FIELD", 700)
        patch.setattr(zips, "MOST_ENTRIES", 10)
        for compress in (False, True):
            file = packed(cache, f"large-{compress}.zarr.zip", compress=compress)
            assert b"PK\6\6" in file.read_bytes()
            with zipfile.ZipFile(file) as archive:
                assert archive.testzip() is None
            assert tree(unpacked(file, f"large-{compress}.zarr")) == tree(cache)
    assert b"PK\6\6" not in plain.read_bytes()
    assert verify.verify(cache.parent / "large-False.zarr.zip") == []


def test_entries_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    """A sparse file: a large entry, and a small one behind it, beyond what 32 bits can say."""
    sizes = {"large": 5 << 30, "small": 4}
    files = {n: File(size=size, sha256="", origin=b"") for n, size in sizes.items()}
    large, small = pack.layout(files)
    assert small.offset > 1 << 32
    path = tmp_path / "sparse.zip"
    with path.open("wb") as file:
        for entry in (large, small):
            file.seek(entry.offset)
            file.write(zips.local_header(entry, alignment=64))
        assert file.tell() == small.limit - 4
        file.write(b"last")
        file.writelines(zips.directory([large, small], small.limit))
    where = ZipPlace(path)
    assert where.size("large") == 5 << 30
    assert bytes(where.map("small")) == where.read("small") == b"last"
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == [5 << 30, 4]
        assert archive.getinfo("small").header_offset == small.offset


@given(
    names=st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=40)
        .filter(zips.safe_name)
        .filter(lambda name: "/" not in name),
        unique=True,
        min_size=1,
        max_size=12,
    ),
    data=st.data(),
)
def test_any_names_and_sizes_come_back(names: list[str], data: st.DataObject) -> None:
    sizes = {name: data.draw(st.integers(0, 300)) for name in names}
    bodies = {name: os.urandom(size) for name, size in sizes.items()}
    files = {name: File.made(body) for name, body in bodies.items()}
    out = io.BytesIO()
    entries = list(pack.layout(files))
    for entry in entries:
        whole = entry._replace(crc=zlib.crc32(bodies[entry.name]))
        out.seek(entry.offset)
        out.write(zips.local_header(whole, alignment=64))
        assert out.tell() % 64 == 0
        out.write(bodies[entry.name])
        assert out.tell() == entry.limit
    out.write(
        b"".join(
            zips.directory(
                [e._replace(crc=zlib.crc32(bodies[e.name])) for e in entries], entries[-1].limit
            )
        )
    )
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == bodies


def test_progress_counts_bytes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr("affcache.progress.QUIET_SECONDS", 0.0)
    monkeypatch.setattr("affcache.progress.say", said.append)
    packed(cache)
    assert any(re.search(r"packing x\.zarr\.zip: .* of .*kB.*/s", line) for line in said)
