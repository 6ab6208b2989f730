"""The three worked examples, as a user runs them: files in, a whole cache out."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from affcache import verify, windows
from affcache.commands.exchange import import_
from affcache.foreign.spectoml import EXAMPLES, load_spec
from affcache.store import Cache
from tests.affcache.foreign.making import arff, gold, openface


def run(*words: str | Path) -> list[dict[str, object]]:
    done = CliRunner().invoke(import_, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_openface(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {f"P0{p}_clip": rng.normal(size=(40, 4)).round(3) for p in range(1, 6)}
    success = rng.random(40) > 0.2
    for name, values in rows.items():
        openface(tmp_path / "of" / f"{name}.csv", values, success)
    out = tmp_path / "x.zarr"
    reports = run("--features", tmp_path / "of", "--spec", "openface", "--out", out)
    assert verify.verify(out) == []
    assert [r["split"] for r in reports] == ["train"] * 3 + ["validation", "test"]
    for name, values in rows.items():
        video = Cache(out).video(name)
        np.testing.assert_array_equal(video.array("valid"), success)
        want = np.where(success[:, None], values[:, :3], 0).astype("f2")
        np.testing.assert_array_equal(video.array("features"), want)
        np.testing.assert_allclose(video.array("time"), np.arange(40) / 30, atol=5e-4)
        want_score = np.where(success, 0.98, np.nan).astype("f4")
        np.testing.assert_array_equal(video.array("score"), want_score)
        assert video.label_attributes["subject"] == name[:3]
        assert video.attributes["fps"] == 30.0
    names = Cache(out).header["provenance"]["feature_names"]
    assert names == ["gaze_0_x", "pose_Rx", "AU01_r"]


def test_avec(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    times = np.arange(0, 4, 0.04)
    truth, rows = {}, {}
    for name in ("train_1", "train_2", "dev_1"):
        rows[name] = rng.normal(size=(100, 6)).round(4)
        truth[name] = np.stack([np.sin(times), np.cos(times)], axis=1).round(5)
        arff(tmp_path / "feat" / f"{name}.arff", times, rows[name])
        gold(tmp_path / "gold" / "valence" / f"{name}.arff", times, truth[name][:, 0])
        gold(tmp_path / "gold" / "arousal" / f"{name}.arff", times, truth[name][:, 1])
    out = tmp_path / "x.zarr"
    words = ("--features", tmp_path / "feat", "--labels", tmp_path / "gold", "--spec", "avec")
    reports = run(*words, "--out", out)
    assert verify.verify(out) == []
    assert {r["video"]: r["labels"] for r in reports} == dict.fromkeys(rows, "va 100")
    for name in rows:
        video = Cache(out).video(name)
        np.testing.assert_array_equal(video.array("features"), rows[name].astype("f2"))
        np.testing.assert_allclose(video.label("va"), truth[name], atol=1e-6)
        assert video.attributes["fps"] == pytest.approx(25)
        assert "25 Hz" in video.label_attributes["rule"]
    sequences = windows.load_all(out, "va", None)
    assert sum(s.counted.sum() for s in sequences) == 300


def test_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("p1_a", "p2_a", "p3_a"):
        folder = tmp_path / "npz" / name[:2]
        folder.mkdir(parents=True)
        np.savez(
            folder / f"{name}.npz",
            features=rng.normal(size=(60, 8, 2)),
            face=np.arange(60) != 7,
            va=rng.uniform(-1, 1, (20, 2)),
            au=rng.integers(0, 2, (20, 2)),
            label_time=np.arange(20) / 10,
        )
    out = tmp_path / "x.zarr"
    reports = run("--features", tmp_path / "npz", "--spec", "npz", "--out", out)
    assert verify.verify(out) == []
    assert [r["split"] for r in reports] == ["train", "train", "test"]
    video = Cache(out).video("p2_a")
    with np.load(tmp_path / "npz" / "p2" / "p2_a.npz") as file:
        want = file["features"].reshape(60, 16).astype("f2")
        want[7] = 0
        np.testing.assert_array_equal(video.array("features"), want)
        va, au = video.label("va"), video.label("au")
        assert va is not None
        assert au is not None
        time = np.arange(58) / 30
        for d in range(2):
            want_va = np.interp(time, file["label_time"], file["va"][:, d])
            np.testing.assert_allclose(va[:58, d], want_va, atol=1e-6)
        # Columns 2 and 6 are the action units 4 and 12; label k is nearest to frames 3k - 1..3k + 1
        np.testing.assert_array_equal(au[::3, 2], file["au"][:, 0])
        np.testing.assert_array_equal(au[1::3, 6], file["au"][:, 1])
    assert (au[:, [0, 1, 3, 4, 5]] == -1).all()


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {"openface", "avec", "npz"}
    assert load_spec("avec").dataset == "recola"
