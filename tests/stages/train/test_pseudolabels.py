"""Pseudo-labels: what is stored beside annotations, and what training makes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.sequences import load_all, load_split, pseudo_sets
from affcache.store import Cache, unsealed, write_labels, write_pseudo
from stages.train import inference, rules
from stages.train.confident import sure_classes, sure_units
from stages.train.data import for_run
from stages.train.device import choose
from stages.train.evaluation import labelled_split
from stages.train.experiments.trials import left_out
from stages.train.folds import Fold
from stages.train.jobs import Job, Material, material, run_job
from stages.train.recipe import load
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome
from tests.stages.train.multitask_world import SHORT, short, small_world

Command = Callable[..., Outcome]
EVERYTHING = "va+expr+au"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A world and a run that learnt from it, made once."""
    folder = tmp_path_factory.mktemp("made")
    world = small_world(folder / "world.zarr")
    job = Job(cache=world, recipe=load("streaming", None, [*SHORT, "optimiser.name=adam"]))
    run_job(job, material(job), folder / "teacher")
    return world, folder / "teacher"


@pytest.fixture
def world(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy that a test may write into."""
    return Path(shutil.copytree(made[0], tmp_path / "world.zarr"))


@pytest.fixture
def teacher(made: tuple[Path, Path]) -> Path:
    return made[1]


def annotations(cache: Path) -> dict[str, bytes]:
    files = sorted(p for p in (cache / "labels").rglob("*") if p.is_file())
    return {str(p.relative_to(cache)): p.read_bytes() for p in files}


def learnt(cache: Path, *fill: str) -> Material:
    return material(Job(cache=cache, recipe=load("streaming"), fill=fill))


def test_a_teachers_sure_decisions_are_stored_beside_the_annotations(
    world: Path, teacher: Path, affcache: Command
) -> None:
    before = annotations(world)
    words = ("pseudo-label", "--from", teacher, "--cache", world, "--threshold", 0.6, "--json")
    done = affcache(*words)
    assert done.status == 0, done.err
    assert annotations(world) == before
    assert affcache("verify", world).status == 0

    cache, run = Cache(world), open_run(teacher)
    said = cache.pseudo_attributes("teacher")
    assert said["method"] == "teacher"
    assert said["run"] == str(teacher.resolve())
    assert (said["head"], said["threshold"]) == ("streaming", 0.6)
    head, standing = run.trained_head(choose("cpu"))
    assert said["iteration"] == standing.iteration
    sizes = run.sizes
    sequences = for_run(cache, sizes, run.config["pseudo"], run.pseudo_attributes())
    counts = dict.fromkeys(("va", "expr", "au"), 0)
    for s in sequences:
        (predicted,) = inference.predict(head, [s], 0, choose("cpu"))
        video = cache.video(s.id)
        expr = sure_classes(predicted.mean[:, sizes.columns("expr")], 0.6)
        au = sure_units(predicted.mean[:, sizes.columns("au")], 0.6)
        va = np.where(np.isfinite(expr).all(1)[:, None], predicted.mean[:, :2], np.nan)
        for task, rows in (("expr", expr), ("au", au), ("va", va)):
            np.testing.assert_array_equal(video.pseudo("teacher", task), rows.astype(np.float32))
            known = np.isfinite(rows)
            counts[task] += int((known.any(1) if task == "au" else known.all(1)).sum())
        assert np.isnan(video.pseudo("teacher", "au")[~s.valid]).all()
    table = {row["task"]: row for row in json.loads(done.out)}
    assert {task: row["sure"] for task, row in table.items()} == counts
    assert said["counts"]["expr"]["sure"] == counts["expr"] > 0
    assert 0 < table["expr"]["not annotated"] < table["expr"]["sure"]
    assert 0 <= table["expr"]["agreement, others"] <= 1


def test_a_teacher_that_is_never_sure_is_not_recommended(
    world: Path, teacher: Path, affcache: Command
) -> None:
    done = affcache("pseudo-label", "--from", teacher, "--cache", world, "--threshold", 1)
    assert done.status == 0, done.err
    assert "sure of no frame: lower --threshold" in done.err
    assert "use them" not in done.err


def test_rules_are_mined_from_the_training_split_alone(world: Path, affcache: Command) -> None:
    words = ("pseudo-label", "--rules", "--cache", world, "--min-support", 5)
    done = affcache(*words, "--name", "surely", "--json")
    assert done.status == 0, done.err
    cache = Cache(world)
    training = load_split(world, "expr+au", None, "train")
    labels = np.concatenate([s.labels[s.counted] for s in training])
    found = rules.mine(labels[:, 7:], labels[:, :7], 5, 0.8)
    said = cache.pseudo_attributes("surely")
    assert said["rules"] == [rule.as_dict() for rule in found]
    assert (said["method"], said["min_support"], said["min_confidence"]) == ("rules", 5, 0.8)
    for s in load_all(world, "expr+au", None):
        expected = rules.apply(found, s.labels[:, 7:], 7)
        expected[~s.valid] = np.nan
        np.testing.assert_array_equal(cache.video(s.id).pseudo("surely", "expr"), expected)
        assert cache.video(s.id).pseudo("surely", "au") is None
    (row,) = json.loads(done.out)
    # in the simulation both follow from valence and arousal: units say which expression it is
    assert row["agreement, others"] > 0.7
    assert row["not annotated"] > 0


def test_rules_that_nothing_supports_are_an_error(world: Path, affcache: Command) -> None:
    done = affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 100000)
    assert done.status == 2
    assert "no pattern of units has 100000 training frames" in done.err
    assert "lower --min-support or --min-confidence" in done.err


def test_training_fills_holes_and_people_always_win(world: Path, affcache: Command) -> None:
    assert affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 5).status == 0
    plain, filled = learnt(world), learnt(world, "rules")
    added = 0
    for was, now in zip(plain.training, filled.training, strict=True):
        assert was.id == now.id
        human = np.isfinite(was.labels)
        np.testing.assert_array_equal(now.labels[human], was.labels[human])
        new = ~human & np.isfinite(now.labels)
        assert not new[:, :2].any()
        assert not new[:, 9:].any()
        stored = Cache(world).video(was.id).pseudo("rules", "expr")
        np.testing.assert_array_equal(now.labels[:, 2:9][new[:, 2:9]], stored[new[:, 2:9]])
        holes = np.isnan(was.labels[:, 2:9]).all(1)
        np.testing.assert_array_equal(new[:, 2:9].any(1), holes & np.isfinite(stored).all(1))
        added += int(new.any(1).sum())
    assert added > 0
    for was, now in zip(plain.validation, filled.validation, strict=True):
        np.testing.assert_array_equal(now.labels, was.labels)
    for was, now in zip(plain.annotated, filled.annotated, strict=True):
        np.testing.assert_array_equal(now.labels, was.labels)


def test_a_run_says_what_filled_its_labels(world: Path, tmp_path: Path, affcache: Command) -> None:
    assert affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 5).status == 0
    words = ("train", "--head", "streaming", "--cache", world, *short())
    assert affcache(*words, "--out", tmp_path / "plain").status == 0
    done = affcache(*words, "--out", tmp_path / "filled", "--fill", "rules")
    assert done.status == 0, done.err
    before, after = learnt(world).training, learnt(world, "rules").training
    holes = [
        np.isnan(was.labels) & np.isfinite(now.labels)
        for was, now in zip(before, after, strict=True)
    ]
    count = sum(int(hole.any(axis=1).sum()) for hole in holes)
    assert f"filled by rules, in {sum(map(np.any, holes))} of {len(after)} training" in done.err
    assert f"videos: va in 0, expr in {count:,}, au in 0 frames" in done.err
    plain, filled = (open_run(tmp_path / name).config for name in ("plain", "filled"))
    assert plain["fill"] == []
    (said,) = filled["fill"]
    assert (said["name"], said["method"], said["min_support"]) == ("rules", "rules", 5)
    assert filled["data"] != plain["data"]
    assert filled["training_labels"] == plain["training_labels"]
    mixed = affcache(*words, "--out", tmp_path / "plain", "--fill", "rules")
    assert mixed.status == 2
    assert "holds another run (data: the cache has other videos, labels or" in mixed.err


def test_videos_that_are_in_no_split_are_learnt_from_and_held_out_ones_are_not(
    world: Path, teacher: Path, affcache: Command
) -> None:
    videos = Cache(world).video_ids()
    with unsealed(world):
        write_labels(world, videos[0], {}, {"subject": "somebody"})
    words = ("pseudo-label", "--from", teacher, "--cache", world, "--threshold", 0.5)
    assert affcache(*words).status == 0
    plain, filled = learnt(world), learnt(world, "teacher")
    assert videos[0] not in {s.id for s in plain.training}
    assert {s.id for s in filled.training} == {s.id for s in plain.training} | {videos[0]}
    held_out = {
        s.id for split in ("validation", "test") for s in load_split(world, "va", None, split)
    }
    assert not held_out & {s.id for s in filled.training}
    assert {s.id for s in filled.annotated} == {s.id for s in plain.training}


def test_a_frame_whose_annotation_is_held_out_stays_empty(world: Path, affcache: Command) -> None:
    """A video that trains units and validates expressions gets no expression from a rule."""
    assert affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 5).status == 0
    cache = Cache(world)
    training = [s.id for s in load_split(world, EVERYTHING, None, "train")]
    chosen = next(
        cache.video(v)
        for v in training
        if cache.video(v).label("expr") is not None
        and np.isfinite(cache.video(v).pseudo("rules", "expr")).any()
    )
    labels = {task: np.array(chosen.label(task)) for task in ("va", "expr", "au")}
    splits = {"va": "train", "expr": "validation", "au": "train"}
    with unsealed(world):
        write_labels(world, chosen.id, labels, {**chosen.label_attributes, "split": splits})
    (own,) = (s for s in learnt(world, "rules").training if s.id == chosen.id)
    assert np.isnan(own.labels[:, 2:9]).all()
    assert np.isfinite(own.labels[:, 9:]).any()


def test_what_a_split_hides_of_a_video_is_not_filled_either(world: Path) -> None:
    """Nobody annotated these expressions; their split holds them out all the same."""
    cache = Cache(world)
    chosen = next(
        video
        for s in load_split(world, EVERYTHING, None, "train")
        if (video := cache.video(s.id)).label("expr") is None
    )
    labels = {task: np.array(chosen.label(task)) for task in ("va", "au")}
    splits = {"va": "train", "expr": "test", "au": "train"}
    said = {"expr": np.tile(np.eye(7)[4], (90, 1))}
    with unsealed(world):
        write_labels(world, chosen.id, labels, {**chosen.label_attributes, "split": splits})
        write_pseudo(world, "a", {"partial": True}, dict.fromkeys(cache.video_ids(), said))
    filled = {s.id: s.labels[:, 2:9] for s in learnt(world, "a").training}
    assert np.isnan(filled[chosen.id]).all()
    assert all(np.isfinite(own).all() for video, own in filled.items() if video != chosen.id)


def test_unannotated_videos_of_held_out_people_are_not_learnt_from(world: Path) -> None:
    cache = Cache(world)
    training, *spare = load_split(world, EVERYTHING, None, "train")[:4]
    held_out = [load_split(world, EVERYTHING, None, s)[0] for s in ("validation", "test")]
    people = [s.subject for s in (training, *held_out)]
    said = {"expr": np.tile(np.eye(7)[4], (90, 1))}
    with unsealed(world):
        for s, person in zip(spare, people, strict=True):
            write_labels(world, s.id, {}, {"subject": person})
        write_pseudo(world, "a", {"partial": True}, dict.fromkeys(cache.video_ids(), said))
    found = {s.id for s in learnt(world, "a").training}
    assert [s.id in found for s in spare] == [True, False, False]
    fold = Fold("fold-1", frozenset(s.id for s in held_out[:1]), frozenset({training.id}))
    job = Job(cache=world, recipe=load("streaming"), fill=("a",))
    found = {s.id for s in material(job, fold).training}
    assert [s.id in found for s in spare] == [False, True, False]


def test_a_fold_is_not_scored_on_what_is_for_the_test(world: Path, teacher: Path) -> None:
    """A video that trains units and tests expressions shows a fold its units alone."""
    cache, run = Cache(world), open_run(teacher)
    chosen = next(v for v in cache.videos() if v.label("expr") is not None)
    labels = {task: np.array(chosen.label(task)) for task in ("va", "expr", "au")}
    splits = {"va": "validation", "expr": "test", "au": "train"}
    with unsealed(world):
        write_labels(world, chosen.id, labels, {**chosen.label_attributes, "split": splits})
    name, (own,) = labelled_split(run, Cache(world), None, only={chosen.id})
    assert name == "held-out"
    shown = [np.isfinite(own.labels[:, run.sizes.columns(t)]).any() for t in ("va", "expr", "au")]
    assert shown == [True, False, True]


def test_folds_say_which_pseudo_labels_know_the_people_left_out(
    world: Path, teacher: Path, affcache: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 5).status == 0
    words = ("pseudo-label", "--from", teacher, "--cache", world, "--threshold", 0.5)
    assert affcache(*words).status == 0

    def said(*fill: str) -> str:
        left_out(Job(cache=world, recipe=load("streaming"), fill=fill), 2)
        return capsys.readouterr().err

    assert "labels rules: made with annotations of the training split" in said("rules")
    assert "flatter" not in said("teacher"), "it has learnt from the cache that this is a copy of"
    assert "flatter" not in said()


def test_folds_say_it_of_a_teacher_whose_opinion_a_head_sees(
    world: Path, tmp_path: Path, affcache: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = tmp_path / "run", load("streaming", None, ("task=au",))
    few = [
        w for c in ("task=au", "training.epochs=1", "training.iterations=2") for w in ("--set", c)
    ]
    assert (
        affcache("train", "--head", "streaming", "--cache", world, "--out", run, *few).status == 0
    )
    words = ("pseudo-label", "--from", run, "--cache", world, "--threshold", 0.5)  # sure of all
    assert affcache(*words).status == 0
    left_out(Job(cache=world, recipe=recipe, pseudo="teacher"), 2)
    assert "labels teacher: made with annotations of the training split" in capsys.readouterr().err


def test_of_several_sets_the_first_wins(world: Path) -> None:
    rows = {v: np.full((90, 7), np.nan) for v in Cache(world).video_ids()}
    fear, joy = np.eye(7)[3], np.eye(7)[4]
    with unsealed(world):
        for name, label, frames in (("a", fear, slice(0, 50)), ("b", joy, slice(0, 90))):
            said = {v: {"expr": own.copy()} for v, own in rows.items()}
            for own in said.values():
                own["expr"][frames] = label
            write_pseudo(world, name, {"method": "rules", "partial": True}, said)
    plain, filled = learnt(world), learnt(world, "a", "b")
    empty = next(s.id for s in plain.training if np.isnan(s.labels[:, 2:9]).all())
    (own,) = (s.labels[:, 2:9] for s in filled.training if s.id == empty)
    np.testing.assert_array_equal(own[:50], np.tile(fear, (50, 1)))
    np.testing.assert_array_equal(own[50:], np.tile(joy, (40, 1)))


def test_a_set_with_holes_is_not_taken_for_the_backbones_opinion(
    world: Path, affcache: Command
) -> None:
    before = pseudo_sets(Cache(world), "expr")
    assert affcache("pseudo-label", "--rules", "--cache", world, "--min-support", 5).status == 0
    assert pseudo_sets(Cache(world), "expr") == before


def test_what_cannot_be_is_said(
    world: Path, teacher: Path, tmp_path: Path, affcache: Command
) -> None:
    def complaint(*words: object) -> str:
        done = affcache(*words)
        assert done.status == 2
        assert "Traceback" not in done.err
        return done.err

    label = ("pseudo-label", "--cache", world)
    assert "say either --from RUN or --rules" in complaint(*label)
    assert "say either --from RUN or --rules" in complaint(*label, "--rules", "--from", teacher)
    assert "cannot name a set" in complaint(*label, "--rules", "--name", "backbone")
    with unsealed(world):
        write_pseudo(world, "readout", {"method": "ridge"}, {})
    taken = complaint(*label, "--rules", "--name", "readout")
    assert "'readout' are there, made by ridge; choose another --name" in taken
    train = ("train", "--head", "streaming", "--cache", world, "--out", tmp_path / "x", *short())
    assert "no pseudo-labels 'nobody' to fill with (there are: readout)" in complaint(
        *train, "--fill", "nobody"
    )
    assert "readout holds no pseudo-labels of va or expr or au" in complaint(
        *train, "--fill", "readout"
    )
    packed = tmp_path / "packed.zip"
    assert affcache("pack", world, packed).status == 0
    assert "is packed; `affcache unpack` it" in complaint(
        "pseudo-label", "--cache", packed, "--rules"
    )


def test_a_run_that_cannot_be_sure_is_no_teacher(
    world: Path, tmp_path: Path, affcache: Command
) -> None:
    run = tmp_path / "numbers"
    words = ("train", "--head", "streaming", "--cache", world, "--set", "task=va", "--out", run)
    assert affcache(*words, *short()).status == 0
    done = affcache("pseudo-label", "--cache", world, "--from", run)
    assert done.status == 2
    assert "nothing to be sure by: streaming learns va, without expressions" in done.err
