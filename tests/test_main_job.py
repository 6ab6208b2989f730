"""The main job as a user does it, on small data sets in exactly the published formats.

video -> cache -> train -> evaluate -> predict, through the Makefile and the console script.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from affcache import verify
from affcache.store import Cache
from tests.caches import make_cache
from tests.trees import affwild2_tree, sewa_tree

ROOT = Path(__file__).parents[1]
SHORT = (
    "training.epochs=1", "training.iterations=20", "windows.shortest=20", "windows.longest=30"
)  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `affcache` as an installation would put it there."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "affcache"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m affcache "$@"\n')
    script.chmod(0o755)
    return folder


def run(program: Path, *words: str, make: bool = False) -> str:
    """What a command prints; a failure shows what it said."""
    begin = ["make", "-s", f"BIN={program}", "READY=setup.cfg"] if make else [program / "affcache"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*begin, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_make_extract_turns_an_affwild2_tree_into_a_labelled_cache(
    program: Path, tmp_path: Path, pyfeat_clips: Path
) -> None:
    tree = affwild2_tree(tmp_path / "affwild2", source=pyfeat_clips / "single_face.mp4")
    out = tmp_path / "out"
    run(program, "extract", "DATASET=affwild2", f"ROOT={tree.root}", f"OUT={out}", make=True)
    cache = Cache(out / "affwild2.zarr")
    assert set(tree.truth) < set(cache.video_ids())
    assert verify.verify(cache.path) == []
    for video_id, tasks in tree.truth.items():
        video = cache.video(video_id)
        assert len(video) == 40
        for task, truth in tasks.items():
            np.testing.assert_array_equal(video.label(task), truth)
    split = cache.video("10-60-1280x720").label_attributes["split"]
    assert (split["va"], split["expr"]) == ("train", "validation")
    assert cache.video("10-60-1280x720").array("valid").all()
    right = cache.video("10-60-1280x720_right")
    assert right.attributes["face"] == "right"


def test_sewa_goes_from_video_to_predictions(
    program: Path, tmp_path: Path, pyfeat_clips: Path
) -> None:
    tree = sewa_tree(tmp_path / "sewa", source=pyfeat_clips / "single_face.mp4")
    cache, finished = tmp_path / "out" / "sewa.zarr", tmp_path / "run"
    run(program, "extract", "--manifest", "sewa", "--root", str(tree.root), "--out", str(cache))
    for video_id, tasks in tree.truth.items():
        label = Cache(cache).video(video_id).label("va")
        np.testing.assert_allclose(label, tasks["va"], atol=1e-6)
    assert Cache(cache).video("Test_DE_01").label("va") is None

    settings = [word for setting in SHORT for word in ("--set", setting)]
    words = ["train", "--head", "ap", "--cache", str(cache), "--out", str(finished)]
    run(program, *words, *settings)
    scores = json.loads(run(program, "evaluate", str(finished), "--json"))
    assert scores

    run(program, "predict", str(finished), str(cache), "--out", str(tmp_path / "predictions"))
    with (tmp_path / "predictions" / "Test_DE_01.csv").open() as file:
        rows = list(csv.DictReader(file))
    video = Cache(cache).video("Test_DE_01")
    assert len(rows) == len(video) == 50
    assert [row["valid"] == "1" for row in rows] == video.array("valid").tolist()
    assert all(-1.5 < float(row["valence"]) < 1.5 for row in rows if row["valid"] == "1")
    assert (tmp_path / "predictions" / "Test_DE_01.png").stat().st_size > 10_000


def test_a_packed_cache_trains_and_predicts_as_its_folder_does(
    program: Path, tmp_path: Path
) -> None:
    folder, packed = make_cache(tmp_path / "x.zarr"), tmp_path / "x.zarr.zip"
    run(program, "pack", str(folder), str(packed))
    settings = [word for setting in SHORT for word in ("--set", setting)]
    for name, cache in (("folder", folder), ("packed", packed)):
        words = ["train", "--head", "ap", "--cache", str(cache), "--out", str(tmp_path / name)]
        run(program, *words, *settings)
        words = ["predict", str(tmp_path / name), str(cache), "--out", str(tmp_path / name / "p")]
        run(program, *words)
    one, other = (sorted((tmp_path / name / "p").glob("*.csv")) for name in ("folder", "packed"))
    assert [path.read_text() for path in one] == [path.read_text() for path in other]
    weights = [tmp_path / name / "last.safetensors" for name in ("folder", "packed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_bare_video_is_predicted_on(program: Path, tmp_path: Path, pyfeat_clips: Path) -> None:
    tree = sewa_tree(tmp_path / "sewa", source=pyfeat_clips / "single_face.mp4")
    cache, finished = tmp_path / "sewa.zarr", tmp_path / "run"
    run(program, "extract", "--manifest", "sewa", "--root", str(tree.root), "--out", str(cache))
    settings = [word for setting in SHORT for word in ("--set", setting)]
    run(program, "readout", "--cache", str(cache), "--task", "va")
    words = ["train", "--head", "ap", "--cache", str(cache), "--out", str(finished)]
    run(program, *words, "--pseudo", "readout", *settings)
    clip = pyfeat_clips / "face_noface.mov"
    run(program, "predict", str(finished), str(clip), "--out", str(tmp_path / "predictions"))
    with (tmp_path / "predictions" / "face_noface.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["valid"] for row in rows} == {"0", "1"}
    assert all((row["valence"] == "") == (row["valid"] == "0") for row in rows)
