"""What streaming must achieve on people never seen, where the answer is known: SIMULATED worlds.

`streaming` judges frames one by one, so its per-frame baseline is itself without translations; and
translations can only help where units say something that features do not say as easily, as in
`tests.stages.train.hierarchy`. On affcache's own simulated caches units and expressions follow from
valence and arousal, not the other way round, and there translations change nothing: what time adds
is measured there.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from affcache.store import Cache
from stages.simulate.cache import CacheSettings, simulate_cache
from stages.train.evaluation import evaluate
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from tests.stages.train.hierarchy import hierarchy

pytestmark = pytest.mark.slow
FIRST = {"va": "ccc_mean", "expr": "f1_mean", "au": "f1_mean"}


def scores(cache: Path, recipe: str, seed: int, folder: Path, *changes: str) -> dict[str, float]:
    """Each task's first metric on the test people, of a run that is trained for it."""
    job = Job(cache=cache, recipe=load(None, recipe, changes), seed=seed, device="cpu")
    run = run_job(job, material(job), folder / recipe)
    document: dict[str, Any] = evaluate(run, Cache(cache), "test", torch.device("cpu"))
    own = [r for r in document["scores"] if r["predictor"] == "streaming" and r["over"] == "frames"]
    return {row["task"]: row[FIRST[row["task"]]] for row in own}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_units_teach_reaches_expressions_and_affect_through_the_translations(
    seed: int, tmp_path: Path
) -> None:
    """Sixty people with units, six of them with expressions, valence and arousal."""
    world = hierarchy(tmp_path / "world.zarr", seed=seed, annotated={"va": 6, "expr": 6})
    adam = ("optimiser.name=adam", "optimiser.learning_rate=1e-3", "optimiser.schedule=cosine")
    short = (*adam, "training.epochs=6", "training.iterations=150")
    with_them = scores(world, "streaming", seed, tmp_path, *short)
    without = scores(world, "streaming-no-translation", seed, tmp_path, *short)
    print(f"seed {seed}: with {with_them}, without {without}")
    assert with_them["va"] > without["va"] + 0.05
    assert with_them["expr"] > without["expr"] + 0.03


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_memory_in_every_stage_beats_frames_one_by_one(seed: int, tmp_path: Path) -> None:
    settings = CacheSettings(
        videos=150,
        frames=200,
        seed=seed,
        missing=0.05,
        tasks=("va", "expr", "au"),
        splits=(100, 20, 30),
    )
    simulate_cache(tmp_path / "world.zarr", settings)
    world = tmp_path / "world.zarr"
    by_time = scores(
        world, "streaming-gru", seed, tmp_path, "training.epochs=4", "training.iterations=50"
    )
    by_frame = scores(
        world,
        "streaming",
        seed,
        tmp_path,
        *("training.epochs=6", "training.iterations=200", "optimiser.schedule=cosine"),
        *("optimiser.name=adam", "optimiser.learning_rate=5e-4"),
    )
    print(f"seed {seed}: with memory {by_time}, frame by frame {by_frame}")
    assert by_time["va"] > by_frame["va"] + 0.1
    assert by_time["expr"] > by_frame["expr"] + 0.05
    assert by_time["au"] > by_frame["au"] + 0.05
