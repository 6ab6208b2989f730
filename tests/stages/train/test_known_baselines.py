"""The baselines on simulated sequences of unseen persons, beside the best estimators there are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stages.simulate.cache import CacheSettings, simulate_cache
from tests.stages.train.conftest import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class World(NamedTuple):
    """A simulated cache, and what the best estimators achieve on its test persons."""

    cache: Path
    ceilings: dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """400 training, 100 validation and 100 test sequences of 600 frames, one person in each."""
    cache = tmp_path_factory.mktemp("known") / "context.zarr"
    document = simulate_cache(cache, CacheSettings(seed=11))
    splits = [video["split"] for video in document["videos"].values()]
    assert (splits.count("train"), splits.count("test")) == (400, 100)
    return World(cache, document["ceilings"]["va"])


@pytest.fixture
def scored(
    world: World, tmp_path: Path, affcache: Callable[..., Outcome]
) -> Callable[..., dict[str, Any]]:
    """Train a recipe and score it on the test persons: frames' rows by predictor."""

    def run(recipe: str, *changes: str) -> dict[str, Any]:
        words = [word for change in changes for word in ("--set", change)]
        out = tmp_path / recipe
        done = affcache(
            "train", "--cache", world.cache, "--recipe", recipe, "--out", out, *words
        )  # fmt: skip
        assert done.status == 0, done.err
        done = affcache("evaluate", out, "--split", "test", "--json")
        assert done.status == 0, done.err
        scores = json.loads(done.out)["scores"]
        return {row["predictor"]: row for row in scores if row["over"] == "frames"}

    return run


def test_a_bidirectional_gru_comes_near_the_smoother_and_far_beyond_single_frames(
    world: World, scored: Callable[..., dict[str, Any]]
) -> None:
    best = world.ceilings["smoother"]["ccc_mean"]
    gru = scored("bigru-long")
    alone = scored("mlp", "training.epochs=3", "training.iterations=100", "windows.batch=16",
                   "optimiser.learning_rate=1e-3")  # fmt: skip
    reached = {"bigru": gru["bigru"]["ccc_mean"], "mlp": alone["mlp"]["ccc_mean"]}
    print(f"\nsimulated data, CCC on unseen persons: {reached}, smoother {best:.3f}")
    assert 0.92 * best <= reached["bigru"] <= best
    assert reached["bigru"] >= gru["trailing mean, matched"]["ccc_mean"]
    assert reached["bigru"] >= reached["mlp"] + 0.15
    assert reached["mlp"] <= 1.02 * world.ceilings["frame"]["ccc_mean_matched"]
