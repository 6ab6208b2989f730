"""One run on several caches: each knows its own task, every batch has its share of each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.publish import create
from affcache.store import seal, unsealed, write_labels, write_pseudo
from tests.caches import publish_video
from tests.stages.train.conftest import Outcome

FIELDS = {"format_version": 1, "what": "simulated"}
TASKS = ("va", "au", "expr")


def publish(
    path: Path,
    task: str,
    width: int = 6,
    fields: dict[str, object] = FIELDS,
    dataset: str | None = None,
    held_out: int = 3,
) -> Path:
    """Four people of 20 frames, annotated for one task; one of them for validation."""
    draw = np.random.default_rng(TASKS.index(task))
    create(path, dataset or task, fields, {})
    for k in range(4):
        labels = {
            "va": draw.uniform(-1, 1, (20, 2)).astype(np.float32),
            "au": draw.integers(0, 2, (20, 12)).astype(np.int8),
            "expr": draw.integers(0, 7, 20).astype(np.int8),
        }[task]
        features = draw.normal(size=(20, width)).astype(np.float32)
        publish_video(path, f"{task}{k}", features, np.ones(20, bool), None)
        split = {"split": {task: "validation" if k == held_out else "train"}}
        write_labels(path, f"{task}{k}", {task: labels}, split)
    seal(path)
    return path


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("several")
    return [publish(folder / f"{task}.zarr", task) for task in TASKS]


def order(*caches: Path) -> list[object]:
    words: list[object] = ["train", "--recipe", "facebehaviornet", "--device", "cpu"]
    for change in ("training.epochs=2", "training.iterations=3", "model.width=8"):
        words += ["--set", change]
    return [*words, *(word for cache in caches for word in ("--cache", cache))]


def uncoupled() -> list[object]:
    return ["--set", "model.coupling=none"]


def test_a_run_learns_every_task_from_the_cache_that_has_it(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    words = [*order(*caches), "--set", "windows.mix=[4, 3, 2]", "--out", tmp_path / "run"]
    done = affcache(*words)
    assert done.status == 0, done.err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["cache"]["dataset"] == "va"
    assert [cache["dataset"] for cache in config["also"]] == ["au", "expr"]
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(rows[-1][task] > 0 for task in TASKS)
    again = affcache(*words)
    assert again.status == 0, again.err
    evaluated = affcache("evaluate", tmp_path / "run", "--cache", caches[1], "--json")
    assert evaluated.status == 0, evaluated.err
    assert {score["task"] for score in json.loads(evaluated.out)["scores"]} == {"au"}


def test_a_mixture_for_more_caches_than_there_are_says_what_to_do(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache(*order(*caches[:2]), "--out", tmp_path / "run")
    assert done.status == 2
    assert "windows.mix has 3 numbers" in done.err
    assert "come from 2 cache(s): give as many --cache" in done.err
    assert not (tmp_path / "run").exists()


def test_without_a_mixture_all_videos_are_drawn_alike(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache(
        *order(*caches), "--set", "windows.mix=[]", "--set", "windows.batch=6",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "9 training videos (180 labelled frames), 3 for validation" in done.err


def test_caches_must_have_been_extracted_alike(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    other = publish(tmp_path / "other.zarr", "au", fields={**FIELDS, "backbone": "another"})
    done = affcache(*order(caches[0], other, caches[2]), "--out", tmp_path / "run")
    assert done.status == 2
    assert "other.zarr: has another fingerprint" in done.err
    assert "backbone: absent in the run, another here" in done.err


def test_a_run_is_not_resumed_on_other_features(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    """The same videos and labels, another backbone: nothing else in the folder tells."""
    other = publish(tmp_path / "other.zarr", "va", fields={**FIELDS, "backbone": "another"})
    words = ["--set", "windows.mix=[]", "--out", tmp_path / "run"]
    assert affcache(*order(caches[0]), "--set", "task=va", *uncoupled(), *words).status == 0
    done = affcache(*order(other), "--set", "task=va", *uncoupled(), *words)
    assert done.status == 2
    assert "holds another run (cache.fingerprint: " in done.err


def test_caches_show_a_head_the_same_pseudo_labels(
    tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    draw = np.random.default_rng(0)
    paths = [publish(tmp_path / f"{name}.zarr", "va") for name in ("here", "there")]
    for path, name in zip(paths, ("one", "other"), strict=True):
        said = {f"va{k}": {"va": draw.uniform(-1, 1, (20, 2))} for k in range(4)}
        with unsealed(path):
            write_pseudo(path, name, {"method": "drawn"}, said)
    words = ["train", "--head", "ap", "--out", tmp_path / "run"]
    done = affcache(*words, *(word for path in paths for word in ("--cache", path)))
    assert done.status == 2
    assert "there.zarr: has pseudo-labels 'other', but" in done.err
    assert "has 'one'; name a set that both have with --pseudo" in done.err


@pytest.mark.parametrize(
    ("dataset", "ending"),
    [("va", "scores on them flatter"), ("expr", "unless different people have the same name")],
)
def test_people_on_both_sides_of_several_caches_are_named(
    dataset: str, ending: str, caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    other = publish(tmp_path / "other.zarr", "va", dataset=dataset, held_out=1)
    settings = ["--set", "windows.mix=[]", "--set", "task=va", *uncoupled()]
    done = affcache(*order(caches[0], other), *settings, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    (line,) = (said for said in done.err.splitlines() if "held out in another" in said)
    assert "2 people are learnt from in one cache and held out in another (va1, va3)" in line
    assert line.endswith(ending)
    alone = affcache(*order(caches[0]), *settings, "--out", tmp_path / "alone")
    assert "held out in another" not in alone.err


def test_people_of_several_caches_are_not_dealt_to_folds(
    caches: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache(*order(*caches), "--folds", "2", "--out", tmp_path / "runs")
    assert done.status == 2
    assert "folds are of one cache's people: leave out --folds" in done.err


def test_a_mixture_needs_windows_of_one_length(
    caches: list[Path], affcache: Callable[..., Outcome]
) -> None:
    done = affcache(*order(*caches), "--set", "windows.longest=5")
    assert done.status == 2
    assert "set windows.shortest and windows.longest the same" in done.err


def test_a_mixture_is_a_list_of_whole_numbers(
    caches: list[Path], affcache: Callable[..., Outcome]
) -> None:
    done = affcache(*order(*caches), "--set", "windows.mix=[4, 0]")
    assert done.status == 2
    assert "windows.mix = [4, 0], expected a list of whole numbers, each at least 1" in done.err
