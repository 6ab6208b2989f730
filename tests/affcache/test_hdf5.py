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

from affcache import hdf5, publish, store, verify
from affcache.contents import contents
from affcache.errors import CacheError
from affcache.hdf5attributes import (
    JSON_NAMES,
    SCALE_ATTRIBUTES,
    read_attributes,
    write_attributes,
)
from affcache.pack import write_pack
from affcache.schema import ArraySpec
from affcache.store import Cache
from tests.caches import FIELDS, make_cache

ROOT = Path(__file__).parents[2]


def rich_cache(path: Path) -> Path:
    """A cache with everything a cache can hold: streams, all label arrays, two pseudo sets."""
    make_cache(path, videos=3, frames=[120, 7, 1], width=40, subjects=3)
    stream = ArraySpec(
        dims=("frame", "band", "bin"), dtype="float16", sizes=(3, 2), meaning="bands"
    )
    document = json.loads((path / "zarr.json").read_text())
    header = document["attributes"]["affcache"] | {"streams": ["audio"]}
    with store.unsealed(path):
        store.write_group(path, {"affcache": header, "note": "ä\n", "x": [1, None, {"k": 2.5}]})
        with publish.VideoWriter(path, "with-stream", {"audio": stream}) as video:
            count = 30
            video.append(
                {
                    "features": np.arange(count * 40.0).reshape(count, 40),
                    "valid": np.ones(count, bool),
                    "time": np.arange(count) / 30,
                    "audio": np.full((count, 3, 2), -0.5),
                }
            )
            want = publish.video_fingerprint(FIELDS, "given", "s")
            video.publish({"face": "given", "source_sha256": "s", "fingerprint": want, "fps": 30.0})
        rng = np.random.default_rng(0)
        labels = {
            "expr": rng.integers(-1, 7, 30),
            "au": rng.integers(-1, 2, (30, 12)),
            "au_intensity": np.where(rng.random((30, 4)) < 0.5, np.nan, 1.5),
        }
        store.write_labels(path, "with-stream", labels, {"subject": "p", "split": {"au": "train"}})
        for name in ("readout", "teacher"):
            rows = {i: {"va": np.full((n, 2), 0.25)} for i, n in (("v00", 120), ("v01", 7))}
            store.write_pseudo(path, name, {"method": name, "alpha": 1e-3, "n": 3}, rows)
    return path


def files(cache: Path) -> dict[str, bytes]:
    return {
        path.relative_to(cache).as_posix(): path.read_bytes()
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "lock"
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_cache(tmp_path_factory.mktemp("rich") / "x.zarr")


@pytest.fixture(scope="module")
def exported(cache: Path) -> Path:
    target = cache.with_name("x.h5")
    hdf5.export(cache, target)
    return target


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
    with h5py.File(exported, "a") as file:
        labels = [dim.label for dim in file[name].dims]
        del file[name]
        file[name] = rows
        for dim, label in zip(file[name].dims, labels, strict=True):
            dim.label = label
    with pytest.raises(CacheError, match=rf"{message}.*affcache verify .*--repair"):
        hdf5.restore(exported, tmp_path / "y.zarr")


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


def peak_memory(program: str, *words: str) -> int:
    """The most bytes a fresh process had; what it inherited before `exec` does not count."""
    program += (
        "\nfrom pathlib import Path as P\n"
        "print([l.split()[1] for l in P('/proc/self/status').open() if 'VmHWM' in l][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return int(done.stdout.splitlines()[-1]) * 1024


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
