"""HDF5 files that are no export of a cache, or no longer one: refused in one clear line."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from affcache import hdf5, publish, verify
from affcache.errors import CacheError


def edited(exported: Path, tmp_path: Path) -> h5py.File:
    (tmp_path / "evil.h5").write_bytes(exported.read_bytes())
    return h5py.File(tmp_path / "evil.h5", "r+")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["videos/v00/more"] = h5py.SoftLink("/videos/v01/features")


def external_link(file: h5py.File, folder: Path) -> None:
    file["videos/other"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(b"secret" * 20)
    del file["videos/v00/valid"]
    file["videos/v00"].create_dataset(
        "valid", (120,), "i1", external=[(str(folder / "secret"), 0, 120)]
    )


def objects(file: h5py.File, folder: Path) -> None:
    file["videos/v00"].create_dataset("names", data=["a", "b"], dtype=h5py.string_dtype())


def terabytes(file: h5py.File, folder: Path) -> None:
    del file["videos/v00/features"]
    made = file["videos/v00"].create_dataset(
        "features", (10**9, 512), "f2", chunks=(64, 512), compression="gzip"
    )
    made.dims[0].label, made.dims[1].label = "frame", "feature"


def unsafe_name(file: h5py.File, folder: Path) -> None:
    file.move("videos/v00", "videos/..evil")


def another_type(file: h5py.File, folder: Path) -> None:
    del file["videos/v00/features"]
    made = file["videos/v00"].create_dataset("features", data=np.zeros((120, 40)))
    made.dims[0].label, made.dims[1].label = "frame", "feature"


def unequal_rows(file: h5py.File, folder: Path) -> None:
    del file["videos/v00/time"]
    file["videos/v00"].create_dataset("time", data=np.arange(9.0)).dims[0].label = "frame"


def odd_label(file: h5py.File, folder: Path) -> None:
    file["labels/v00"].create_dataset("mood", data=np.zeros(120)).dims[0].label = "frame"


def forged(file: h5py.File, folder: Path) -> None:
    header = json.loads(file.attrs["affcache"])
    file.attrs["affcache"] = json.dumps(header | {"fields": {"backbone": "better"}})


def newer(file: h5py.File, folder: Path) -> None:
    file.attrs["affcache"] = json.dumps(json.loads(file.attrs["affcache"]) | {"format_version": 9})


def bad_json(file: h5py.File, folder: Path) -> None:
    file.attrs["affcache"] = "{"


def odd_attribute(file: h5py.File, folder: Path) -> None:
    file["videos/v00"].attrs["curve"] = np.zeros(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (soft_link, "is a link"),
        (external_link, "is a link"),
        (external_storage, "lies in another file"),
        (objects, "holds object"),
        (terabytes, "claim to hold"),
        (unsafe_name, "not a group of a cache"),
        (another_type, "float64"),
        (unequal_rows, "unequal rows"),
        (odd_label, "no such array"),
        (forged, "fingerprint"),
        (newer, "update affcache"),
        (bad_json, "not readable"),
        (odd_attribute, "neither text nor a number"),
    ],
)
def test_what_is_not_a_cache_is_refused_in_one_clear_line(
    exported: Path, tmp_path: Path, change: Any, message: str
) -> None:
    with edited(exported, tmp_path) as file:
        change(file, tmp_path)
    with pytest.raises(CacheError, match=message) as caught:
        hdf5.restore(tmp_path / "evil.h5", tmp_path / "out.zarr")
    assert "\n" not in str(caught.value)


def test_random_damage_never_ends_in_anything_but_a_clear_error(
    exported: Path, tmp_path: Path
) -> None:
    whole, rng = exported.read_bytes(), np.random.default_rng(0)
    for turn in range(30):
        data = bytearray(whole)
        for at in rng.integers(len(data), size=40):
            data[at] ^= int(rng.integers(1, 256))
        (tmp_path / "bad.h5").write_bytes(data[: len(data) // 2] if turn % 3 == 0 else data)
        out = tmp_path / f"{turn}.zarr"
        try:
            hdf5.restore(tmp_path / "bad.h5", out)
        except CacheError:
            continue
        assert {f.kind for f in verify.verify(out)} <= {"values", "rows", "fingerprint", "schema"}


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("labels/v00/va", np.zeros((100, 2), "f4"), "labels/v00/va: 100 rows beside 120 frames"),
        ("videos/v00/time", np.zeros(120), "time is finite and increases"),
    ],
)
def test_what_was_edited_in_the_file_does_not_become_a_cache_unnoticed(
    exported: Path, tmp_path: Path, name: str, rows: np.ndarray, message: str
) -> None:
    with edited(exported, tmp_path) as file:
        labels = [dim.label for dim in file[name].dims]
        del file[name]
        file[name] = rows
        for dim, label in zip(file[name].dims, labels, strict=True):
            dim.label = label
    with pytest.raises(CacheError, match=rf"{message}.*affcache verify .*--repair"):
        hdf5.restore(tmp_path / "evil.h5", tmp_path / "y.zarr")


def test_a_target_that_exists_is_left_alone(cache: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="exists already"):
        hdf5.export(cache, exported)
    with pytest.raises(CacheError, match="there is no folder"):
        hdf5.export(cache, tmp_path / "no" / "x.h5")


@pytest.mark.parametrize("content", [None, b"", b"not hdf5 at all" * 100])
def test_a_file_that_is_no_hdf5_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(CacheError, match=r"x\.h5: (there is no such file|not readable as HDF5)"):
        hdf5.restore(tmp_path / "x.h5", tmp_path / "out.zarr")


def test_an_hdf5_file_of_others_is_told_the_way(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["features"] = np.zeros((4, 4))
    with pytest.raises(CacheError, match="--features"):
        hdf5.restore(tmp_path / "x.h5", tmp_path / "out.zarr")


def test_another_cache_at_the_target_is_left_alone(exported: Path, tmp_path: Path) -> None:
    publish.create(tmp_path / "other.zarr", "other", {"format": 2}, {})
    with pytest.raises(CacheError, match="in another way"):
        hdf5.restore(exported, tmp_path / "other.zarr")
