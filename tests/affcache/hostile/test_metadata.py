"""Metadata of strangers: what no cache holds is refused, nothing is allocated or unpickled."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import affcache
from affcache import hdf5, store, verify
from affcache.arrays import write_array
from affcache.errors import CacheError
from affcache.places import place
from affcache.schema import VIDEO_ARRAYS
from affcache.store import Cache
from affcache.targets import split_of
from tests.affcache.copying.packed import packed
from tests.affcache.hostile.ways import refused, resealed, use

pytest.importorskip("xarray")  # now, before memory is counted
ARRAY = "videos/v00/features/zarr.json"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [1 << 40, 8]),
        ("shape", [1 << 62, 1 << 62]),
        ("shape", [40, 8.0]),
        ("shape", [-40, -8]),
        ("shape", [1 << 60, 0]),
        ("shape", [0, 8]),
        ("shape", [True, 8]),
        ("shape", []),
        ("shape", [0] * 100),
        ("shape", 40),
        ("shape", None),
        ("data_type", "object"),
        ("data_type", "O"),
        ("data_type", "complex128"),
        ("data_type", ["float16"]),
        ("data_type", {"name": "struct"}),
        ("data_type", None),
        ("codecs", [{"name": "bytes"}, {"name": "pickle"}]),
        ("codecs", [{"name": "numcodecs.pickle"}]),
        ("codecs", [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]),
        ("codecs", 7),
        ("codecs", None),
        ("codecs", [7, None]),
        ("codecs", [{"name": {"x": 1}}]),
        ("chunk_grid", 7),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 8]}}),
        ("chunk_key_encoding", {"name": "v2"}),
        ("chunk_key_encoding", {"name": "default", "configuration": {"separator": "."}}),
        ("storage_transformers", [{"name": "evil"}]),
        ("zarr_format", 2),
        ("node_type", "group"),
        ("fill_value", {"x": 1}),
        ("fill_value", "1.5"),
        ("fill_value", True),
        ("fill_value", 10**400),
        ("dimension_names", 7),
        ("dimension_names", ["frame"]),
        ("dimension_names", ["frame", "frame"]),
        ("dimension_names", ["frame", None]),
    ],
)
def test_metadata_that_declares_what_no_cache_holds_is_refused(
    file: Path, cache: Path, key: str, value: object
) -> None:
    document = json.loads(place(file).read(ARRAY)) | {key: value}
    if key == "shape":
        document["chunk_grid"]["configuration"]["chunk_shape"] = value
    data = json.dumps(document).encode()
    refused(resealed(file, {ARRAY: data}), "v00/features", use)
    (cache / ARRAY).write_bytes(data)
    with pytest.raises(CacheError, match="v00/features"):
        Cache(cache).video("v00").array("features")
    assert {f.video for f in verify.verify(cache)} == {"v00"}


@pytest.mark.parametrize(
    "attributes", [None, 7, [], "x", {"affcache": 7}, {"affcache": {"format_version": "1"}}]
)
def test_a_root_whose_attributes_are_of_the_wrong_type_is_refused(
    file: Path, attributes: object
) -> None:
    root = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    refused(resealed(file, {"zarr.json": root.encode()}), "zarr.json|affcache cache|format version")


@pytest.mark.parametrize("name", ["dataset", "fingerprint", "fields", "provenance"])
@pytest.mark.parametrize("value", [7, None, ["x"], True])
def test_a_header_whose_entries_are_of_the_wrong_type_is_refused(
    file: Path, name: str, value: object
) -> None:
    root = json.loads(place(file).read("zarr.json"))
    root["attributes"]["affcache"][name] = value
    refused(resealed(file, {"zarr.json": json.dumps(root).encode()}), f"{name} in its header is")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_fields_that_no_hash_can_be_taken_of_are_refused(cache: Path, number: float) -> None:
    root = json.loads((cache / "zarr.json").read_bytes())
    root["attributes"]["affcache"]["fields"] = {"x": number}
    (cache / "zarr.json").write_text(json.dumps(root))
    refused(cache, "fields in its header are not JSON", use)


@pytest.mark.parametrize("name", ["zarr.json", "videos/v00/zarr.json", "labels/v00/zarr.json"])
def test_attributes_nested_absurdly_deep_are_refused(cache: Path, name: str) -> None:
    document = (cache / name).read_text()
    deep = '{"a":' * 400 + "1" + "}" * 400
    (cache / name).write_text(
        document.replace('"attributes": {', f'"attributes": {{"x": {deep},', 1)
    )
    refused(cache, "nested deeper than 64 levels", use)


@pytest.mark.parametrize("split", [7, ["train"], [["a"], 3], "train", None])
def test_a_split_of_another_type_is_no_split(cache: Path, split: object) -> None:
    store.write_group(cache / "labels" / "v00", {"split": split})
    assert affcache.open(cache).video("v00").split == {}
    assert split_of(Cache(cache).video("v00"), "va") is None


@pytest.mark.parametrize("group", ["videos/v00", "labels/v00", "videos/v00/time"])
@pytest.mark.parametrize("attributes", [None, 7, ["x"]])
def test_attributes_that_are_no_object_are_not_exported(
    cache: Path, group: str, attributes: object
) -> None:
    document = json.loads((cache / group / "zarr.json").read_bytes())
    (cache / group / "zarr.json").write_text(json.dumps(document | {"attributes": attributes}))
    with pytest.raises(CacheError, match="attributes are not an object"):
        hdf5.export(cache, cache.with_name("x.h5"))


def test_dimensions_that_are_no_names_are_refused_by_xarray_too(cache: Path) -> None:
    document = json.loads((cache / ARRAY).read_bytes())
    (cache / ARRAY).write_text(json.dumps(document | {"dimension_names": 7}))
    with pytest.raises(CacheError, match="not those of a cache array"):
        affcache.open(cache).to_xarray()


@pytest.mark.parametrize("name", ["time", "features"])
def test_a_video_without_an_array_is_refused_by_xarray_too(cache: Path, name: str) -> None:
    shutil.rmtree(cache / "videos" / "v00" / name)
    with pytest.raises(CacheError, match=f"no array '{name}'"):
        cached = affcache.open(cache).video("v00")
        repr(cached), cached.to_xarray()


def test_arrays_of_unequal_rows_are_refused_by_xarray_too(cache: Path) -> None:
    write_array_of(cache, rows=39)
    with pytest.raises(CacheError, match="conflicting sizes for dimension 'frame'"):
        affcache.open(cache).to_xarray()


def write_array_of(cache: Path, *, rows: int) -> None:
    shutil.rmtree(cache / "videos" / "v00" / "valid")
    write_array(cache / "videos/v00/valid", VIDEO_ARRAYS["valid"], np.ones(rows, bool), "v00")


@pytest.mark.parametrize("change", ["shape", "gone", "more", "none"])
def test_a_copy_of_the_metadata_that_says_something_else_is_a_fault(
    cache: Path, change: str
) -> None:
    """By the root's copy other programs open the cache: zarr would read what affcache does not."""
    root = json.loads((cache / "zarr.json").read_bytes())
    copy = root["consolidated_metadata"]["metadata"]
    if change == "shape":
        copy["videos/v00/features"]["shape"] = [20, 16]
    elif change == "gone":
        del copy["videos/v00/features"]
    elif change == "more":
        copy["videos/v02"] = copy["videos/v00"]
    else:
        root["consolidated_metadata"] = 7
    file = packed(cache)
    hostile = resealed(file, {"zarr.json": json.dumps(root, indent=1, sort_keys=True).encode()})
    faults = verify.verify(hostile)
    assert {(fault.kind, fault.where) for fault in faults} == {("metadata", "zarr.json")}


def test_a_document_of_nothing_but_brackets_takes_no_memory(cache: Path) -> None:
    (cache / "zarr.json").write_bytes(b'{"a": [' + b"[]," * 8_000_000 + b"[]]}")
    with pytest.raises(CacheError, match="too large for metadata"):
        Cache(cache)


def test_a_sparse_terabyte_is_refused_by_its_metadata(cache: Path) -> None:
    chunk = cache / "videos" / "v00" / "features" / "c" / "0" / "0"
    with chunk.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CacheError, match="holds 1099511627772 bytes of data"):
        Cache(cache).video("v00").array("features")
    assert "size" in {fault.kind for fault in verify.verify(cache, quick=True)}


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("the trap went off",)


def test_nothing_is_unpickled(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trap = pickle.dumps(Trap())
    for name in ("videos/v00/features/c/0/0", ARRAY, "zarr.json"):
        refused(resealed(file, {name: trap}), "v00|JSON", use)
    assert "trap" not in capsys.readouterr().out
