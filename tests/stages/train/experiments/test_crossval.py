"""Cross-validation: who is left out of what, who may vote on whom, and the tables."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.metrics import ccc
from affcache.store import Cache
from affcache.windows import load_split
from stages.train import inference
from stages.train.device import choose
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.simulated import simulate

Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval")
    return simulate(folder / "small.zarr", people=(6, 3, 3), frames=90, width=16)


def said(run: Path, cache: Path, split: str) -> list[np.ndarray]:
    opened = open_run(run)
    head, _ = opened.trained_head(choose("cpu"))
    sequences = load_split(cache, "va", "backbone", split)
    return [p.mean for p in inference.predict(head, sequences, 70, choose("cpu"))]


def run_crossval(affcache: Command, cache: Path, out: Path, *more: str) -> Outcome:
    words = ("crossval", "--cache", cache, "--head", "ap", "--folds", 3, "--out", out)
    return affcache(*words, *quick("training.epochs=1"), *more)


def test_folds_train_score_and_vote_on_the_test_split(
    small: Path, tmp_path: Path, affcache: Command
) -> None:
    out = tmp_path / "folds"
    done = run_crossval(affcache, small, out, "--with-original", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document == json.loads((out / "crossval.json").read_text())
    names = ["original", "fold-1", "fold-2", "fold-3"]
    assert [row["validation set"] for row in document["folds"]] == names
    assert [row["people"] for row in document["folds"]] == [3, 3, 3, 3]
    assert document["voted_on"] == "test"
    assert document["voters"] == [4, 4]
    assert [row["model"] for row in document["votes"]] == [*names, "vote: mean", "vote: majority"]

    sequences = load_split(small, "va", "backbone", "test")
    each = [np.concatenate(said(out / name, small, "test")) for name in names]
    counted = np.concatenate([s.counted for s in sequences])
    truth = np.concatenate([s.labels for s in sequences])[counted]
    mean = np.mean(each, axis=0)[counted]
    (row,) = (row for row in document["votes"] if row["model"] == "vote: mean")
    assert row["CCC_V"] == pytest.approx(ccc(truth[:, 0], mean[:, 0]), abs=1e-6)
    assert row["S_VA"] == pytest.approx((row["CCC_V"] + row["CCC_A"]) / 2)


def test_every_person_of_training_and_validation_is_left_out_once(
    small: Path, tmp_path: Path, affcache: Command
) -> None:
    out = tmp_path / "folds"
    done = run_crossval(affcache, small, out)
    assert done.status == 0, done.err
    assert "on the left: each model on the people that it left out" in done.out
    assert "voted: the test split, 3 votes a video" in done.out
    assert max(len(line) for line in done.out.splitlines() if "│" in line) <= 80
    assert "fold-2, 2 of 3:" in done.err
    again = run_crossval(affcache, small, out)
    assert again.out == done.out
    assert not (out / "original").exists()
    digests = {open_run(out / f"fold-{k}").config["data"] for k in (1, 2, 3)}
    assert len(digests) == 3


def test_without_a_test_split_nobody_votes_on_a_person_that_it_has_seen(
    tmp_path: Path, affcache: Command
) -> None:
    cache = simulate(tmp_path / "two.zarr", people=(6, 3, 0), frames=90, width=16)
    out = tmp_path / "folds"
    done = run_crossval(affcache, cache, out, "--with-original", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document["voted_on"] == "validation"
    # the original model, and the one fold that left this person out
    assert document["voters"] == [2, 2]
    assert [row["model"] for row in document["votes"]] == [
        "original",
        "vote: mean",
        "vote: majority",
    ]
    alone = run_crossval(affcache, cache, tmp_path / "alone", "--json")
    document = json.loads(alone.out)
    assert document["voters"] == [1, 1]
    assert [row["model"] for row in document["votes"]] == ["vote: mean", "vote: majority"]


def test_folds_that_cannot_be_are_refused(small: Path, tmp_path: Path, affcache: Command) -> None:
    done = affcache("crossval", "--cache", small, "--folds", 10, "--out", tmp_path / "x", *quick())
    assert done.status == 2
    assert "10 folds of 9 people: choose from 2 to as many as there are people" in done.err
    assert not (tmp_path / "x").exists()
    assert len(Cache(small).video_ids()) == 12
