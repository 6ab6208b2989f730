"""Several runs in one command: seeds, heads, folds by person, here and on dask workers."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from affcache.store import Cache
from stages.train.experiments.trials import Outcome, plan, printable, summary
from stages.train.jobs import Job
from stages.train.recipe import load
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome as Done
from tests.stages.train.conftest import quick

Command = Callable[..., Done]


def test_seeds_make_a_run_each_and_a_table_of_mean_and_spread(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    words = ["train", "--cache", cache, "--out", tmp_path / "x", "--seeds", 2, *quick()]
    done = affcache(*words)
    assert done.status == 0, done.err
    assert "CCC of va, 2 seeds" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines()[:-1])
    assert "±" in done.out
    found = json.loads((tmp_path / "x" / "trials.json").read_text())
    assert [Path(t["run"]).name for t in found["trials"]] == ["ap-s0", "ap-s1"]
    scores = [
        row["ccc_valence"]
        for trial in found["trials"]
        for row in trial["evaluation"]["scores"]
        if (row["predictor"], row["over"]) == ("ap", "frames")
    ]
    (own,) = (row for row in found["summary"] if row["predictor"] == "ap")
    assert own["trials"] == 2
    assert own["ccc_valence"] == pytest.approx(statistics.fmean(scores))
    assert own["ccc_valence std"] == pytest.approx(statistics.stdev(scores))


def test_an_experiment_that_grows_computes_only_what_is_new(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    words = ["train", "--cache", cache, "--out", tmp_path / "x", *quick()]
    assert affcache(*words, "--seeds", 2).status == 0
    before = (tmp_path / "x" / "ap-s1" / "last.safetensors").stat().st_mtime_ns
    again = affcache(*words, "--seeds", 3, "--json")
    assert again.status == 0, again.err
    assert (tmp_path / "x" / "ap-s1" / "last.safetensors").stat().st_mtime_ns == before
    assert {row["trials"] for row in json.loads(again.out)} == {3}


def test_folds_leave_out_each_person_once_and_score_on_them(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    done = affcache("train", "--cache", cache, "--out", tmp_path, "--folds", 3, *quick())
    assert done.status == 0, done.err
    people = {v.id: v.label_attributes["subject"] for v in Cache(cache).videos()}
    scored: list[str] = []
    for k in range(3):
        config = open_run(tmp_path / f"ap-s0-fold-{k + 1}").config
        assert not (tmp_path / f"ap-s0-fold-{k + 1}" / "best.safetensors").exists()
        assert config["sizes"]["targets"] == [["va", ["valence", "arousal"]]]
    for trial in json.loads((tmp_path / "trials.json").read_text())["trials"]:
        assert trial["evaluation"]["split"] == "held-out"
        scored.append(trial["fold"])
    assert scored == ["fold-1", "fold-2", "fold-3"]
    job = Job(cache=cache, recipe=load("ap", None, ()))
    folds = [trial.fold for trial in plan({"ap": job}, 1, 3, tmp_path)]
    held_out = [people[v] for fold in folds if fold is not None for v in sorted(fold.validation)]
    assert len(held_out) == len(set(held_out)) == 13, "ten training and three validation people"


def test_folds_do_not_start_from_a_run_that_has_seen_their_people(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    words = ["train", "--cache", cache, *quick()]
    second = tmp_path / "second"
    assert affcache(*words, "--start-from", trained, "--out", second).status == 0
    for start in (trained, second):
        done = affcache(*words, "--start-from", start, "--folds", 3, "--out", tmp_path / "x")
        assert done.status == 2
        assert "folds would be scored on people that it has seen" in done.err
        assert not (tmp_path / "x").exists()


def test_recipes_of_one_name_do_not_share_a_run_folder(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    own = tmp_path / "ap.toml"
    own.write_text('extends = "ap"\nhead = "ap"\n[model]\nwidth = 8\n')
    done = affcache("train", "--cache", cache, "--recipe", f"ap,{own}", "--out", tmp_path / "x")
    assert done.status == 2
    assert "two recipes of one name would share a run folder; rename one" in done.err


def test_several_heads_are_compared_on_dask_workers_as_in_one_process(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    changes = [w for c in ("training.epochs=1", "training.iterations=3") for w in ("--set", c)]
    words = ["train", "--cache", cache, "--head", "ap,mlp", "--json", *changes]
    alone = affcache(*words, "--out", tmp_path / "a")
    spread = affcache(*words, "--out", tmp_path / "b", "--parallel", 2, "--workers", 1)
    assert alone.status == spread.status == 0, spread.err
    rows = json.loads(alone.out)
    assert {row["recipe"] for row in rows} == {"ap", "mlp"}
    assert json.loads(spread.out) == rows


def test_one_trials_trouble_does_not_cost_the_others(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    (tmp_path / "ap-s0").mkdir()
    (tmp_path / "ap-s0" / "thesis.doc").write_text("mine")
    done = affcache("train", "--cache", cache, "--out", tmp_path, "--seeds", 2, *quick())
    assert done.status == 2
    assert "1 of 2 trials failed: ap-s0" in done.err
    assert "not empty and not a run" in done.err
    assert "ap" in done.out, "the table of what succeeded"


def test_the_table_shows_a_deviation_only_where_there_are_several(tmp_path: Path) -> None:
    job = Job(cache=tmp_path, recipe=load("ap", None, ()))
    (trial,) = plan({"ap": job}, 1, 0, tmp_path)
    score = {"task": "va", "predictor": "ap", "over": "frames"}
    scores = [score | {"ccc_valence": 0.5, "ccc_arousal": 0.25, "ccc_mean": 0.375}]
    document = {"head": "ap", "scores": scores}
    rows = summary([Outcome(trial, document, None)])
    assert rows[0]["ccc_mean std"] is None
    ((shown,),) = printable(rows).values()
    assert (shown["valence"], shown["mean"]) == ("0.500", "0.375")


def test_baselines_stand_once_and_heads_go_by_their_recipes(tmp_path: Path) -> None:
    outcomes = []
    for name, own in (("ap", 0.6), ("ap-kl", 0.7)):
        job = Job(cache=tmp_path, recipe=load("ap", name, ()))
        (trial,) = plan({name: job}, 1, 0, tmp_path)
        scores = [
            {"task": "va", "over": "frames", "predictor": predictor, "ccc_mean": value}
            for predictor, value in (("pseudo-labels", 0.5), ("ap", own), ("ap, matched", own))
        ]
        outcomes.append(Outcome(trial, {"head": "ap", "scores": scores}, None))
    (table,) = printable(summary(outcomes)).values()
    assert [row[""] for row in table] == [
        "pseudo-labels",
        "ap",
        "ap, matched",
        "ap-kl",
        "ap-kl, matched",
    ]
