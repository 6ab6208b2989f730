"""HDF5 and back: the same cache to the byte, read by plain h5py, and no more than a cache."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affcache import hdf5, publish, verify
from affcache.copying.contents import contents
from affcache.copying.pack import write_pack
from affcache.hdf5.attributes import (
    JSON_NAMES,
    SCALE_ATTRIBUTES,
    read_attributes,
    write_attributes,
)
from affcache.store import Cache
from tests.caches import make_cache
from tests.memory import ROOT, peak_memory


def files(cache: Path) -> dict[str, bytes]:
    return {
        path.relative_to(cache).as_posix(): path.read_bytes()
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "lock"
    }


def test_a_round_trip_gives_the_same_files_and_the_same_seal(
    cache: Path, exported: Path, tmp_path: Path
) -> None:
    moved = hdf5.restore(exported, tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(cache)
    assert verify.verify(tmp_path / "back.zarr") == []
    assert (moved.videos, moved.frames) == (4, 158)


def test_plain_h5py_reads_the_same_arrays_dimensions_and_attributes(
    cache: Path, exported: Path
) -> None:
    with h5py.File(exported) as file:
        for video in Cache(cache).videos():
            group = file["videos"][video.id]
            for name in group:
                np.testing.assert_array_equal(group[name][()], video.array(name))
                assert group[name].dtype == video.array(name).dtype
            assert [dim.label for dim in group["features"].dims] == ["frame", "feature"]
            assert group["features"].dims[0][0] == group["time"]
            assert group.attrs["face"] == video.attributes["face"]
            assert group.attrs["fps"] == video.attributes["fps"]
        labels = file["labels/with-stream"]
        assert labels["au"].dims[0]["time"] == file["videos/with-stream/time"]
        assert json.loads(labels.attrs["split"]) == {"au": "train"}
        assert file["pseudo/teacher"].attrs["alpha"] == 1e-3
        header = json.loads(file.attrs["affcache"])
        assert header["fingerprint"] == Cache(cache).fingerprint


def test_chunks_hold_whole_rows_and_about_128_kib(tmp_path: Path) -> None:
    make_cache(tmp_path / "x.zarr", videos=1, frames=1000)
    hdf5.export(tmp_path / "x.zarr", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["videos/v00/features"].chunks == (128, 512)
        assert file["videos/v00/time"].chunks == (1000,)


def test_exporting_twice_gives_the_same_bytes(cache: Path, exported: Path, tmp_path: Path) -> None:
    hdf5.export(cache, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == exported.read_bytes()


def test_an_import_that_broke_is_completed_by_the_same_command(
    cache: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, calls = tmp_path / "x.zarr", publish.VideoWriter.publish, []

    def dies_at_the_third(self: publish.VideoWriter, attributes: dict[str, Any]) -> None:
        calls.append(self.id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, attributes)

    monkeypatch.setattr(publish.VideoWriter, "publish", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        hdf5.restore(exported, out)
    assert Cache(out).video_ids() == ["v00", "v01"]
    hdf5.restore(exported, out)
    assert files(out) == files(cache)
    assert calls == ["v00", "v01", "v02", "v02", "with-stream"]


def test_a_broken_export_leaves_no_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hdf5, "_attach_time", dies)
    with pytest.raises(KeyboardInterrupt):
        hdf5.export(cache, tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 3_000, 200_000, 400_000, 700_000, 900_000])
def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    path = make_cache(tmp_path / "x.zarr", videos=6, frames=150)
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from affcache.cli import main\n"
        "main(['export', *sys.argv[1:]])\n"
    )
    words = [sys.executable, "-c", program, str(path), str(tmp_path / "x.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert "cannot write (File too large); make room" in line
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    assert verify.verify(path) == []


def test_a_packed_cache_is_exported_as_its_folder_is(
    cache: Path, exported: Path, tmp_path: Path
) -> None:
    write_pack(contents(Cache(cache)), tmp_path / "x.zarr.zip")
    hdf5.export(tmp_path / "x.zarr.zip", tmp_path / "x.h5")
    assert (tmp_path / "x.h5").read_bytes() == exported.read_bytes()


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(codec=None), max_size=20),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
FREE_NAMES = NAMES.filter(lambda name: name not in (JSON_NAMES, *SCALE_ATTRIBUTES))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(FREE_NAMES, VALUES, max_size=6))
def test_attributes_survive_whatever_they_are(attributes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "x.h5", "w") as file:
        write_attributes(file, attributes)
        back = read_attributes(file)
    assert json.dumps(back, sort_keys=True) == json.dumps(attributes, sort_keys=True)


def test_memory_does_not_grow_with_the_cache(tmp_path: Path) -> None:
    def peak(videos: int) -> int:
        path = tmp_path / f"{videos}.zarr"
        make_cache(path, videos=videos, frames=4000, pseudo_va=False, labelled=False)
        program = (
            "import sys; from pathlib import Path; from affcache import hdf5\n"
            "path = Path(sys.argv[1])\n"
            "hdf5.export(path, path.with_suffix('.h5'))\n"
            "hdf5.restore(path.with_suffix('.h5'), path.with_suffix('.back'))\n"
        )
        return peak_memory(program, str(path))

    few, many = peak(2), peak(16)
    assert many - few < 20e6, (few, many)
    assert many < 150e6
