"""Slow: heads of paper 002 beat the same layers without time, on simulated people never seen.

Frames of the simulated cache are noisy and hide each sequence's offset, so that time matters; its
features are dealt to the streams low, mid, high and audio in turn.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affcache.publish import VideoWriter, create
from affcache.schema import ArraySpec
from affcache.store import Cache, seal, write_labels
from stages.simulate.cache import simulate_cache
from stages.simulate.settings import Backbone, CacheSettings
from stages.train.data import for_run
from stages.train.device import choose
from stages.train.evaluation import means
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.scoring import headline, scores

pytestmark = pytest.mark.slow
SEEDS = (1, 2, 3)
STREAMS = {
    name: ArraySpec(dims=("frame", name), dtype="float16", sizes=(None,), meaning="simulated")
    for name in ("low", "mid", "high", "audio")
}
COMMON = ("optimiser.learning_rate=1e-3", "training.iterations=60", "model.width=64")
GRU = (*COMMON, "model.units=32", "training.epochs=1")
ALL_TASKS = (*COMMON, "model.units=32", "training.epochs=3", "optimiser.learning_rate=3e-3")
FRAME = (*COMMON, "training.epochs=4")


def with_streams(source: Path, path: Path) -> Path:
    """The same videos and labels, with every fourth feature in each stream."""
    cache = Cache(source)
    create(path, "simulated", {"simulated": "in streams"}, {})
    for video in cache.videos():
        features = np.array(video.array("features"))
        arrays = {name: features[:, k::4] for k, name in enumerate(STREAMS)}
        arrays |= {"features": np.concatenate([arrays[n] for n in ("low", "mid", "high")], axis=1)}
        arrays |= {name: np.array(video.array(name)) for name in ("valid", "time")}
        with VideoWriter(path, video.id, STREAMS) as writer:
            writer.append(arrays)
            writer.publish({"fps": 25.0, "fingerprint": video.id, "source_sha256": video.id})
        labels = {task: np.array(video.label(task)) for task in ("va", "expr", "au")}
        own = {key: video.label_attributes[key] for key in ("subject", "split")}
        write_labels(path, video.id, labels, own)
    seal(path)
    return path


@pytest.fixture(scope="module", params=SEEDS)
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A cache of 90 people to learn from, 30 for validation and 30 for testing; and its seed."""
    folder = tmp_path_factory.mktemp(f"streams{request.param}")
    settings = CacheSettings(
        videos=150,
        frames=200,
        tasks=("va", "expr", "au"),
        splits=(3.0, 1.0, 1.0),
        backbone=Backbone(width=64),
        seed=request.param,
    )
    simulate_cache(folder / "plain.zarr", settings)
    return with_streams(folder / "plain.zarr", folder / "streams.zarr"), request.param


def score(
    world: tuple[Path, int], recipe: str, changes: tuple[str, ...], start: Path | None = None
) -> tuple[float, Path]:
    """Headline on the test split (CCC; of all tasks CCC and F1), and the run's folder."""
    torch.set_num_threads(1)
    cache, seed = world
    name = f"{recipe}-{'+'.join(c.split('=')[1] for c in changes if c.startswith('task'))}"
    job = Job(cache=cache, recipe=load(None, recipe, changes), seed=seed, device="cpu", start=start)
    run = run_job(job, material(job), cache.parent / name)
    test = for_run(Cache(cache), run.sizes, run.config["pseudo"], {}, "test")
    return headline(scores(run.sizes, test, means(run, test, choose("cpu")))), run.folder


def test_recurrent_heads_of_affect_beat_the_same_layers_without_time(
    world: tuple[Path, int],
) -> None:
    per_frame, _ = score(world, "mt", (*FRAME, "task=va"))
    found = {
        head: score(world, head, GRU)[0]
        for head in ("affwildnet", "cnn-1rnn", "cnn-3rnn", "fusion-fc", "fusion-rnn")
    }
    print(world[1], f"per frame {per_frame:.3f}", {k: round(v, 3) for k, v in found.items()})
    assert all(value > per_frame + 0.05 for value in found.values()), (per_frame, found)


def test_recurrent_heads_of_all_tasks_beat_the_same_layers_without_time(
    world: tuple[Path, int],
) -> None:
    per_frame, _ = score(world, "mt", FRAME)
    found = {head: score(world, head, ALL_TASKS)[0] for head in ("mt-gru", "mt-gru-audio")}
    _, apart = score(world, "av-mt-gru-streams", ALL_TASKS)
    found["av-mt-gru"] = score(world, "av-mt-gru", ALL_TASKS, apart)[0]
    print(world[1], f"per frame {per_frame:.3f}", {k: round(v, 3) for k, v in found.items()})
    assert found["mt-gru"] > per_frame + 0.05, (per_frame, found)
    assert found["av-mt-gru"] > per_frame + 0.05, (per_frame, found)
