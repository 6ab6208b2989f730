"""Packs whose seals lie and whose entries swell: stopped before anything is written."""

import json
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import h5py
import pytest

from affcache import hdf5
from affcache.errors import CacheError
from affcache.places import place
from tests.affcache.copying.packed import bomb, poke, rezip, seal_with
from tests.affcache.hostile.ways import refused, resealed, unpack, use


def test_a_bomb_in_a_data_file_is_stopped_at_the_size_that_was_sealed(file: Path) -> None:
    hostile = bomb(file, "videos/v00/features/c/0/0", 300 << 20)
    assert hostile.stat().st_size < 2 << 20
    refused(hostile, "its seal says 644", unpack)
    refused(hostile, "cold storage", use)


def test_a_bomb_that_hides_its_size_in_the_directory_is_stopped(file: Path) -> None:
    name = "videos/v00/features/c/0/0"
    hostile = bomb(file, name, 300 << 20)
    hostile = poke(hostile, name, 24, (644).to_bytes(4, "little"))
    refused(hostile, "is not as long as it says", unpack)


def test_a_bomb_in_the_seal_is_not_inflated(file: Path) -> None:
    refused(bomb(file, ".affcache/seal.json", 300 << 20), "which so few files do not need", unpack)


def test_a_bomb_in_the_metadata_is_not_read(file: Path) -> None:
    size = 200 << 20
    listed = {n: (1, "0" * 64) for n in place(file).files() if not n.startswith(".affcache/")}
    seal = seal_with(listed | {"zarr.json": (size, "0" * 64)})
    changed = rezip(file, change={".affcache/seal.json": seal})
    sizes = place(changed)
    seal = seal_with(
        {n: (sizes.size(n), "0" * 64) for n in listed} | {"zarr.json": (size, "0" * 64)}
    )
    changed = rezip(file, change={".affcache/seal.json": seal})
    refused(bomb(changed, "zarr.json", size), "which so few files do not need", unpack)


def test_trailing_garbage_behind_a_deflated_stream_is_refused(file: Path) -> None:
    cold = file.with_name("cold.zarr.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(cold, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    name = "videos/v00/valid/c/0"
    with zipfile.ZipFile(cold) as archive:
        size = archive.getinfo(name).file_size
    refused(poke(cold, name, 24, (size - 1).to_bytes(4, "little")), "its seal says", unpack)


def test_a_seal_that_claims_terabytes_is_refused_before_anything_is_written(file: Path) -> None:
    listed = {n: (place(file).size(n), "0" * 64) for n in place(file).files() if n[0] != "."}
    seal = seal_with(listed | {"zarr.json": (1 << 50, "0" * 64)})
    refused(rezip(file, change={".affcache/seal.json": seal}), "its seal says", unpack)


@pytest.mark.parametrize(
    "seal",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format_version": 1, "files": []}',
        b'{"format_version": 2, "files": {}}',
        b'{"format_version": 1, "files": {"../x": {"bytes": 1, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {".affcache/x": {"bytes": 1, "sha256": "%s"}}}'
        % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": -1, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": 1e9, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": true, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": 1, "sha256": 7}}}',
        b'{"format_version": 1, "files": {"x": 7}}',
        b"[" * 3000,
        b"\xff\xfe",
    ],
)
def test_a_seal_that_is_none_is_refused(file: Path, seal: bytes) -> None:
    refused(rezip(file, change={".affcache/seal.json": seal}), "seal|JSON|damaged")


def test_a_pack_with_a_file_too_many_or_too_few_is_refused(file: Path) -> None:
    refused(rezip(file, {"videos/v00/extra": b"x"}), "in the zip, but not in the seal", unpack)
    gone = rezip(file, drop=("videos/v00/valid/c/0",))
    refused(gone, "in the seal, but not in the zip", unpack)


def test_a_damaged_byte_is_found_while_unpacking_and_named(file: Path) -> None:
    where = place(file)
    view = bytes(where.map("videos/v01/features/c/0/0"))
    at = file.read_bytes().index(view)
    data = bytearray(file.read_bytes())
    data[at + 11] ^= 4
    file.write_bytes(data)
    refused(file, r"videos/v01/features/c/0/0 is not what the seal says", unpack)


def test_another_programs_newer_format_is_not_published(file: Path) -> None:
    root = json.loads(place(file).read("zarr.json"))
    root["attributes"]["affcache"]["format_version"] = 99
    refused(resealed(file, {"zarr.json": json.dumps(root).encode()}), "update affcache")


def test_a_bomb_is_refused_within_limits_of_memory_and_file_size(file: Path) -> None:
    """In a process of its own, where the kernel and not Python counts."""
    hostile = bomb(file, "videos/v00/features/c/0/0", 300 << 20)
    program = textwrap.dedent(f"""
        import numpy, resource, sys
        from affcache.cli import main
        import affcache.copying.copies
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)
        main(["unpack", {str(hostile)!r}, {str(hostile.with_name("out.zarr"))!r}])
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not hostile.with_name("out.zarr").exists()


@pytest.mark.parametrize("name", ["labels/v00/va", "pseudo/none/v00/va"])
def test_labels_that_an_hdf5_file_only_promises_are_not_read(cache: Path, name: str) -> None:
    target = cache.with_name("x.h5")
    hdf5.export(cache, target)
    with h5py.File(target, "r+") as file:
        if name in file:
            del file[name]
        huge = file.create_dataset(name, (1 << 25, 2), "f4", chunks=(1 << 16, 2))
        huge.dims[0].label, huge.dims[1].label = "frame", "dimension"
    with pytest.raises(CacheError, match="more than 128 MiB of labels"):
        hdf5.restore(target, cache.with_name("out.zarr"))
    assert not cache.with_name("out.zarr").exists()
