"""NPZ, NPY and HDF5: columns by name and by part, nothing unpickled, one file or one group each."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from affcache import store, verify
from affcache.errors import ForeignError
from affcache.foreign.pipeline import build
from affcache.foreign.rows import Wanted, read_rows
from affcache.foreign.spectoml import parse_spec
from affcache.store import Cache
from tests.affcache.foreign.test_text import whole

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(50, 6))


@pytest.fixture(params=["npz", "npy", "hdf5"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, str]:
    """The same array in each format, and what it is called there."""
    kind, path = str(request.param), tmp_path / f"x.{request.param}"
    if kind == "npz":
        np.savez_compressed(path, deep=ROWS)
        return kind, path, "deep"
    if kind == "npy":
        np.save(path, ROWS)
        return kind, path, "data"
    with h5py.File(path, "w") as file:
        file["a/deep"] = ROWS
    return kind, path, "a/deep"


def test_an_array_and_its_parts_are_columns(stored: tuple[str, Path, str]) -> None:
    kind, path, name = stored
    np.testing.assert_array_equal(whole(kind, path)[0], ROWS)
    found, names, singles = whole(
        kind, path, columns=(f"{name}[2:5]", f"{name}[5]"), singles={"time": f"{name}[0]"}
    )
    np.testing.assert_array_equal(found, ROWS[:, 2:6])
    np.testing.assert_array_equal(singles["time"], ROWS[:, 0])
    assert len(names) == 4
    np.testing.assert_array_equal(whole(kind, path, columns=(f"{name}[3:]",))[0], ROWS[:, 3:])


def test_a_column_that_is_not_there_is_named(stored: tuple[str, Path, str]) -> None:
    kind, path, name = stored
    with pytest.raises(ForeignError, match=f"'depth' is not there; there are: {name}"):
        whole(kind, path, columns=("depth",))
    with pytest.raises(ForeignError, match=r"\[6\].* is not within an array of shape \(50, 6\)"):
        whole(kind, path, columns=(f"{name}[6]",))
    with pytest.raises(ForeignError, match=r"shape \(50, 6\), expected one column; choose it"):
        whole(kind, path, singles={"time": name})


def test_a_damaged_file_is_named(stored: tuple[str, Path, str]) -> None:
    kind, path, _ = stored
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ForeignError, match=r"x\.\w+: not readable as"):
        whole(kind, path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    evil = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "x.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "x.npz", deep=evil)
    for kind in ("npy", "npz"):
        with pytest.raises(ForeignError, match=r"allow_pickle=False|Python objects"):
            whole(kind, tmp_path / f"x.{kind}")


def test_npz_and_npy_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, ROWS)
    with pytest.raises(ForeignError, match="format = 'npy'"):
        whole("npz", tmp_path / "x.npz")
    with (tmp_path / "x.npy").open("wb") as file:
        np.savez(file, a=ROWS)
    with pytest.raises(ForeignError, match="format = 'npz'"):
        whole("npy", tmp_path / "x.npy")


def test_arrays_of_unequal_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=ROWS, b=ROWS[:9])
    with pytest.raises(ForeignError, match=r"unequal rows \{'a': \(50, 6\), 'b': \(9, 6\)\}"):
        whole("npz", tmp_path / "x.npz")


def test_one_hdf5_file_holds_every_video_in_a_group_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with h5py.File(folder / "all.h5", "w") as file:
        for k, name in enumerate(("p1_a", "p1_b", "p2_a")):
            file[f"clips/{name}/deep"] = ROWS + k
            file[f"clips/{name}/va"] = np.full((50, 2), 0.25)
        file["unrelated"] = 3
    spec = parse_spec(
        """
        dataset = "one-file"
        subject = '(p\\d)_'
        [features]
        format = "hdf5"
        files = "all.h5"
        group = "clips/{id}"
        columns = ["deep"]
        fps = 25
        [[labels]]
        task = "va"
        format = "hdf5"
        files = "all.h5"
        group = "clips/{id}"
        valence = "va[0]"
        arousal = "va[1]"
        """,
        "spec",
    )
    build(spec, folder, folder, tmp_path / "x.zarr")
    cache = Cache(tmp_path / "x.zarr")
    assert cache.video_ids() == ["p1_a", "p1_b", "p2_a"]
    for k, video in enumerate(cache.videos()):
        np.testing.assert_array_equal(video.array("features"), (ROWS + k).astype("f2"))
        np.testing.assert_array_equal(video.label("va"), np.full((50, 2), 0.25, "f4"))
        assert video.label_attributes["rule"] == "valence and arousal: row k is frame k"
    assert verify.verify(tmp_path / "x.zarr") == []
    sources = {video.attributes["source_sha256"] for video in cache.videos()}
    assert len(sources) == 3
    assert {s.split(":")[0] for s in sources} == {store.sha256_of(folder / "all.h5")}


@pytest.mark.parametrize("where", ["{id}", "clips/{id}"])
def test_one_hdf5_file_holds_every_video_as_an_array_of_its_own(tmp_path: Path, where: str) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for k, name in enumerate(("p1", "p2")):
            file[where.replace("{id}", name)] = ROWS + k
    text = f"""
        dataset = "arrays"
        [features]
        format = "hdf5"
        files = "all.h5"
        group = "{where}"
        fps = 25
        """
    build(parse_spec(text, "spec"), tmp_path, tmp_path, tmp_path / "x.zarr")
    for k, video in enumerate(Cache(tmp_path / "x.zarr").videos()):
        np.testing.assert_array_equal(video.array("features"), (ROWS + k).astype("f2"))
    wrong = parse_spec(text.replace(where, "video/{id}"), "spec")
    with pytest.raises(ForeignError, match=r"no group or array fits 'video/\{id\}'; it holds "):
        build(wrong, tmp_path, tmp_path, tmp_path / "y.zarr")


def test_a_video_without_a_group_of_labels_has_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["deep/p1"], file["deep/p2"], file["va/p1"] = ROWS, ROWS, np.zeros((50, 2))
    text = """
        dataset = "arrays"
        [features]
        format = "hdf5"
        files = "all.h5"
        group = "deep/{id}"
        fps = 25
        [[labels]]
        task = "va"
        format = "hdf5"
        files = "all.h5"
        group = "va/{id}"
        valence = "data[0]"
        """
    reports = build(parse_spec(text, "spec"), tmp_path, tmp_path, tmp_path / "x.zarr")
    assert [report["labels"] for report in reports] == ["va 50", "none"]


def test_external_storage_of_an_hdf5_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 80)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["deep"] = ROWS
        file.create_dataset("more", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
    asked = Wanted(columns=("more",), singles={})
    with pytest.raises(ForeignError, match="'more' is not there"):
        list(read_rows("hdf5", tmp_path / "x.h5", asked))
