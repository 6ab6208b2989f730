"""A fold's own readout: nothing in the pseudo-labels of a fold knows the labels left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.readout import apply, fit_readout
from affcache.store import Cache, unsealed, write_labels
from stages.train import evaluation
from stages.train.experiments.trials import left_out
from stages.train.folds import ORIGINAL, Fold
from stages.train.jobs import Job, Material, material, run_job
from stages.train.recipe import load
from tests.stages.train.conftest import QUICK, Outcome
from tests.stages.train.simulated import simulate

Command = Callable[..., Outcome]
RECIPE = load("ap", None, QUICK)


def with_readout(path: Path, other_labels_of: str | None = None) -> Path:
    """Eight people with a readout beside the backbone's opinion; one may be annotated otherwise."""
    cache = simulate(path, people=(6, 2, 1), frames=80, width=8)
    if other_labels_of is not None:
        video = Cache(cache).video(other_labels_of)
        with unsealed(cache):
            labels = -np.array(video.label("va"))
            write_labels(cache, video.id, {"va": labels}, video.label_attributes)
    fit_readout(cache)
    return cache


def learn(cache: Path, number: int) -> tuple[Job, Fold, Material]:
    job = Job(cache=cache, recipe=RECIPE, pseudo="readout", device="cpu")
    fold = left_out(job, 3)[number]
    assert fold is not None
    return job, fold, material(job, fold)


@pytest.mark.parametrize("role", ["train", "validation"])
def test_labels_of_people_left_out_change_no_pseudo_label_of_their_fold(
    role: str, tmp_path: Path
) -> None:
    plain = with_readout(tmp_path / "plain.zarr")
    number, who = next(
        (k, v.id)
        for k, fold in enumerate(left_out(Job(cache=plain, recipe=RECIPE, pseudo="readout"), 3))
        for v in Cache(plain).videos()
        if fold and v.id in fold.validation and v.label_attributes["split"] == {"va": role}
    )
    changed = with_readout(tmp_path / "changed.zarr", other_labels_of=who)
    one, other = (learn(cache, number)[2] for cache in (plain, changed))
    assert who in {s.id for s in one.validation}
    for was, now in zip(
        [*one.training, *one.validation], [*other.training, *other.validation], strict=True
    ):
        np.testing.assert_array_equal(now.pseudo, was.pseudo)
    whole = [material(Job(cache=c, recipe=RECIPE, pseudo="readout")) for c in (plain, changed)]
    same = [
        np.array_equal(was.pseudo, now.pseudo, equal_nan=True)
        for was, now in zip(whole[0].training, whole[1].training, strict=True)
    ]
    assert all(same) == (role == "validation")  # the split's own readout learns from training


def test_a_fold_is_scored_with_the_readout_that_its_run_keeps(tmp_path: Path) -> None:
    cache = with_readout(tmp_path / "cache.zarr")
    job, fold, learnt = learn(cache, 0)
    run = run_job(job, learnt, tmp_path / "run")
    model = run.pseudo_attributes()["tasks"]["va"]
    people = {who for group in model["folds"] for who in group}
    assert people == {s.subject for s in learnt.training}
    assert people.isdisjoint(s.subject for s in learnt.validation)
    _, scored = evaluation.labelled_split(run, Cache(cache), None, only=fold.validation)
    for own, again in zip(learnt.validation, scored, strict=True):
        np.testing.assert_array_equal(again.pseudo, own.pseudo)
        said = apply(model, own.features)
        np.testing.assert_array_equal(own.pseudo[own.valid], said[own.valid])
    assert run_job(job, learn(cache, 0)[2], tmp_path / "run").config == run.config


def test_a_folds_run_scored_on_a_split_says_whom_of_it_it_has_learnt_from(
    tmp_path: Path, affcache: Command
) -> None:
    cache = with_readout(tmp_path / "cache.zarr")
    job, fold, learnt = learn(cache, 0)
    run_job(job, learnt, tmp_path / "run")
    split = {
        v.id for v in Cache(cache).videos() if v.label_attributes["split"] == {"va": "validation"}
    }
    known = len(split & fold.training)
    done = affcache("evaluate", tmp_path / "run", "--split", "validation")
    assert f"it has learnt from {known} of these {len(split)} people: scores flatter" in done.err
    assert known
    assert "flatter" not in affcache("evaluate", tmp_path / "run", "--split", "test").err


def test_the_original_split_and_a_backbones_opinion_stay_as_they_are(tmp_path: Path) -> None:
    cache = with_readout(tmp_path / "cache.zarr")
    original = Fold(ORIGINAL, frozenset(), frozenset())
    job = Job(cache=cache, recipe=RECIPE, pseudo="readout")
    assert material(job, original).refitted is None
    backbone = Job(cache=cache, recipe=RECIPE, pseudo="backbone")
    fold = left_out(backbone, 3)[0]
    found = material(backbone, fold)
    assert found.refitted is None
    for s in found.training:
        said = Cache(cache).video(s.id).pseudo("backbone", "va")
        np.testing.assert_array_equal(s.pseudo, said)


def test_crossvals_models_vote_with_their_own_readouts(tmp_path: Path, affcache: Command) -> None:
    cache, out = with_readout(tmp_path / "cache.zarr"), tmp_path / "out"
    words = [word for change in QUICK for word in ("--set", change)]
    words += ["--set", "training.epochs=1", "--pseudo", "readout", "--folds", "3"]
    done = affcache("crossval", "--cache", cache, "--head", "ap", "--out", out, *words)
    assert done.status == 0, done.err
    assert "voted: the test split, 3 votes a video" in done.out
