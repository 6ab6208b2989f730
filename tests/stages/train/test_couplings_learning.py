"""Slow: couplings teach a task from labels of another, on simulated people never seen.

Half of the labels are gone: of the training videos every other one has expressions alone, the rest
have units alone. The units are those of the expression in the table that the couplings are given,
which is what they assume. By the simulator's own map a frame also shows units of the expressions
beside the nearest one: there soft co-annotation still helps, and matching costs units.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affcache.schema import EXPRESSIONS
from affcache.store import Cache, write_labels
from affcache.targets import FIXED
from stages.simulate.cache import simulate_cache
from stages.simulate.settings import Backbone, CacheSettings, Process
from stages.train.data import for_run
from stages.train.device import choose
from stages.train.evaluation import means
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.relatedness import load as relatedness
from stages.train.scoring import scores

pytestmark = pytest.mark.slow
SEEDS = (5, 6, 7)
VARIANTS = ("-no-coupling", "-co-annotation", "-soft", "-matching", "", "-printed")
SETTINGS = (
    "windows.mix=[]",
    "windows.batch=256",
    "optimiser.learning_rate=1e-3",
    "training.epochs=8",
    "training.iterations=50",
    "model.width=64",
)


def drawn(path: Path, seed: int, **more: Any) -> Path:
    """11 people to learn from, 23 for validation, 46 for testing."""
    process = Process(
        noise_variance=0.3,
        offset_variance=0.1,
        pole_frames=20.0,
        annotator_variance=0.0,
        label_scale=0.5,
    )
    settings = CacheSettings(
        videos=80,
        frames=100,
        tasks=("va", "expr", "au"),
        splits=(0.5, 1.0, 2.0),
        backbone=Backbone(width=64),
        process=process,
        seed=seed,
        **more,
    )
    simulate_cache(path, settings)
    return path


def halved(path: Path, seed: int) -> Path:
    """Units as the table decides; every training video keeps them or its expressions."""
    drawn(path, seed)
    table = (relatedness("cognitive").table(EXPRESSIONS, FIXED["au"]) > 0).astype(np.int8)
    number = 0
    for video in Cache(path).videos():
        expressions = np.array(video.label("expr"))
        units = np.where(expressions[:, None] < 0, -1, table[expressions]).astype(np.int8)
        attributes = {key: video.label_attributes[key] for key in ("subject", "split")}
        if attributes["split"]["expr"] == "train":
            (units if number % 2 == 0 else expressions)[:] = -1
            number += 1
        labels = {"va": np.array(video.label("va")), "expr": expressions, "au": units}
        write_labels(path, video.id, labels, attributes)
    return path


def learnt(cache: Path, seed: int, variants: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """F1 of expressions and units on the test split, and "sum" of both, by variant."""
    torch.set_num_threads(1)
    table = {}
    for variant in variants:
        recipe = load(None, f"facebehaviornet{variant}", SETTINGS)
        job = Job(cache=cache, recipe=recipe, seed=seed, device="cpu")
        run = run_job(job, material(job), cache.with_name(f"{cache.stem}{variant}"))
        test = for_run(Cache(cache), run.sizes, run.config["pseudo"], {}, "test")
        own = scores(run.sizes, test, means(run, test, choose("cpu")))
        both = {task: own[task]["f1_mean"] for task in ("expr", "au")}
        table[variant or "-both"] = {**both, "sum": sum(both.values())}
    print(seed, {v: {k: round(x, 3) for k, x in row.items()} for v, row in table.items()})
    return table


@pytest.fixture(scope="module", params=SEEDS)
def found(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Scores of every variant where the table is right."""
    folder = tmp_path_factory.mktemp(f"coupled{request.param}")
    return learnt(halved(folder / "half.zarr", request.param), request.param, VARIANTS)


@pytest.mark.parametrize("variant", ["-co-annotation", "-soft", "-matching", "-both"])
def test_a_coupling_helps_where_half_of_the_labels_are_gone(
    found: dict[str, dict[str, float]], variant: str
) -> None:
    assert found[variant]["sum"] > found["-no-coupling"]["sum"]


def test_couplings_to_the_letter_do_not_help(found: dict[str, dict[str, float]]) -> None:
    assert found["-printed"]["sum"] < found["-no-coupling"]["sum"]


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_co_annotation_helps_also_where_the_table_is_not_the_whole_truth(
    seed: int, tmp_path: Path
) -> None:
    cache = drawn(tmp_path / "own.zarr", seed, drop={"va": 0.5, "expr": 0.5, "au": 0.5})
    found = learnt(cache, seed, ("-no-coupling", "-soft", "-matching"))
    assert found["-soft"]["expr"] > found["-no-coupling"]["expr"]
    assert found["-soft"]["sum"] > found["-no-coupling"]["sum"]
    assert found["-matching"]["au"] < found["-no-coupling"]["au"]
