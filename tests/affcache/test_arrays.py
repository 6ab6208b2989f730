"""One array, one chunk, one file: written as a stream, mapped as one view, read by plain zarr."""

import contextlib
import json
import tempfile
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affcache.arrays import ArrayWriter, map_array, read_json, write_array, write_json
from affcache.errors import CacheError
from affcache.places import FolderPlace
from affcache.schema import LABEL_ARRAYS, PSEUDO_ARRAYS, VIDEO_ARRAYS, ArraySpec

SPECS = [*VIDEO_ARRAYS.items(), *LABEL_ARRAYS.items(), *PSEUDO_ARRAYS.items()]


def random_rows(spec: ArraySpec, rows: int, rng: np.random.Generator) -> np.ndarray:
    sizes = tuple(size or 17 for size in spec.sizes)
    values = rng.normal(size=(rows, *sizes)) * 10
    return values > 0 if spec.dtype == "bool" else values.astype(spec.dtype)


@pytest.mark.parametrize(("name", "spec"), SPECS, ids=[name for name, _ in SPECS])
def test_zarr_reads_what_was_written_and_so_does_the_map(
    tmp_path: Path, name: str, spec: ArraySpec
) -> None:
    rows = random_rows(spec, 23, np.random.default_rng(0))
    write_array(tmp_path / name, spec, rows, "here")
    plain = zarr.open_array(tmp_path / name, mode="r")
    np.testing.assert_array_equal(plain[:], rows)
    np.testing.assert_array_equal(map_array(FolderPlace(tmp_path), name), rows)
    assert plain.chunks == plain.shape
    assert plain.metadata.dimension_names == spec.dims
    assert not map_array(FolderPlace(tmp_path), name).flags.writeable


@pytest.mark.parametrize(("name", "spec"), SPECS, ids=[name for name, _ in SPECS])
def test_the_bytes_are_those_that_zarr_itself_would_write(
    tmp_path: Path, name: str, spec: ArraySpec
) -> None:
    rows = random_rows(spec, 5, np.random.default_rng(1))
    write_array(tmp_path / "ours" / name, spec, rows, "here")
    theirs = zarr.create_array(
        tmp_path / "theirs" / name,
        shape=rows.shape,
        chunks=rows.shape,
        dtype=spec.dtype,
        compressors=zarr.codecs.Crc32cCodec(),
        dimension_names=spec.dims,
        fill_value=spec.missing,
        attributes={"meaning": spec.meaning},
    )
    theirs[:] = rows
    key = "/".join(["c", *["0"] * rows.ndim])
    ours_at, theirs_at = tmp_path / "ours" / name, tmp_path / "theirs" / name
    assert (ours_at / key).read_bytes() == (theirs_at / key).read_bytes()
    ours, standard = read_json(ours_at / "zarr.json"), read_json(theirs_at / "zarr.json")
    for document in (ours, standard):  # one-byte types need no byte order; both spellings are valid
        document["codecs"][0].pop("configuration", None)
    assert ours == standard


@given(
    rows=hnp.arrays(np.float32, st.tuples(st.integers(0, 40), st.just(2))),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_how_the_rows_are_cut_into_appends_changes_nothing(
    rows: np.ndarray, cuts: list[int]
) -> None:
    rows = np.where(np.isinf(rows), np.float32(0), rows)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(
            ArrayWriter(Path(folder) / "va", LABEL_ARRAYS["va"], "x")
        ) as writer:
            for piece in np.split(rows, sorted(min(cut, len(rows)) for cut in cuts)):
                writer.append(piece)
            writer.finish()
        chunk = (Path(folder) / "va" / "c" / "0" / "0").read_bytes()
        assert chunk[:-4] == rows.tobytes()
        assert int.from_bytes(chunk[-4:], "little") == google_crc32c.value(rows.tobytes())
        if len(rows):
            np.testing.assert_array_equal(map_array(FolderPlace(Path(folder)), "va"), rows)


def test_big_endian_input_is_stored_little(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=">f4").reshape(3, 2)
    write_array(tmp_path / "va", LABEL_ARRAYS["va"], rows, "here")
    np.testing.assert_array_equal(map_array(FolderPlace(tmp_path), "va"), rows)


@pytest.mark.parametrize("value", [70000.0, np.inf, -np.inf, np.nan])
def test_a_feature_outside_float16_is_refused_with_video_and_row(
    tmp_path: Path, value: float
) -> None:
    rows = np.zeros((4, 512), np.float32)
    rows[2, 7] = value
    with pytest.raises(CacheError, match=r"video v1: features at row 2 .* float16"):
        write_array(tmp_path / "features", VIDEO_ARRAYS["features"], rows, "video v1")


def test_a_row_of_the_wrong_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"v1: va has shape \(4, 3\)"):
        write_array(tmp_path / "va", LABEL_ARRAYS["va"], np.zeros((4, 3)), "v1")


def test_rows_may_not_change_their_width_on_the_way(tmp_path: Path) -> None:
    with contextlib.closing(ArrayWriter(tmp_path, VIDEO_ARRAYS["features"], "v1")) as writer:
        writer.append(np.zeros((2, 512)))
        with pytest.raises(CacheError, match="changed"):
            writer.append(np.zeros((2, 128)))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_array(tmp_path / "va", LABEL_ARRAYS["va"], np.ones((5, 2)), "v1")
    return tmp_path / "va"


def test_a_shortened_chunk_is_refused_before_it_is_mapped(stored: Path) -> None:
    chunk = stored / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CacheError, match="holds 39 bytes of data, its metadata says 40"):
        map_array(FolderPlace(stored.parent), stored.name)
    chunk.write_bytes(b"")
    with pytest.raises(CacheError, match=r"holds 0 bytes .* says 40; `affcache verify` tells"):
        map_array(FolderPlace(stored.parent), stored.name)


def test_a_flipped_bit_is_found_by_a_plain_zarr_read(stored: Path) -> None:
    chunk = stored / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[3] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(stored, mode="r")[:]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data_type", "object"),
        ("shape", [1 << 60, 2]),
        ("shape", [-1, 2]),
        ("shape", "5"),
        ("codecs", [{"name": "bytes"}, {"name": "zstd"}]),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 2]}}),
    ],
)
def test_metadata_that_is_not_ours_is_refused(stored: Path, key: str, value: object) -> None:
    document = read_json(stored / "zarr.json") | {key: value}
    (stored / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(CacheError, match=str(stored)):
        map_array(FolderPlace(stored.parent), stored.name)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100000, "\x00"])
def test_what_is_not_a_json_object_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(CacheError, match=r"zarr\.json"):
        read_json(tmp_path / "zarr.json")


def test_a_json_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"one": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"bad": object()})
    assert read_json(tmp_path / "a.json") == {"one": 1}
