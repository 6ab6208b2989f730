"""What ANCLaF's heads learn where the truth is known: from their past, and where to look in it.

Everything here is simulated. The caches' features show valence and arousal of the moment under
strong noise, so several frames say more than one. The planted movements show a new level in a
single frame and nothing after it, so whoever looks back must find that frame.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from affcache.metrics import ccc
from stages.simulate.cache import Backbone, CacheSettings, Process, simulate_cache
from stages.train.experiments import curriculum
from stages.train.heads import Sizes, Windows
from stages.train.heads.anclaf import AnclafS, AnclafSa, AttentionSettings
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load

pytestmark = pytest.mark.slow

SMALL = (
    "model.encoding=32",
    "windows.batch=16",
    "training.epochs=3",
    "training.iterations=100",
    "optimiser.learning_rate=1e-3",
    "optimiser.schedule=cosine",
)
SIZES = Sizes({"features": 16}, {"va": ("valence", "arousal")}, 25.0)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 people, 200 frames each, in which a frame alone says little."""
    path = tmp_path_factory.mktemp("anclaf") / "people.zarr"
    settings = CacheSettings(
        videos=150,
        frames=200,
        changes=3,
        missing=0.05,
        seed=1,
        process=Process(offset_variance=0.0),
        backbone=Backbone(width=64),
    )
    simulate_cache(path, settings)
    return path


def test_every_variant_beats_the_frame_alone_on_unseen_people_with_each_of_three_seeds(
    people: Path, tmp_path: Path
) -> None:
    for seed in range(3):
        score = {}
        for recipe in ("anclaf", "anclaf-s-8", "anclaf-sa-8"):
            state = () if recipe == "anclaf" else ("model.state=16",)
            job = Job(cache=people, recipe=load(None, recipe, (*SMALL, *state)), seed=seed)
            run = run_job(job, material(job), tmp_path / f"{recipe}-{seed}")
            _, found = curriculum.scores(run, torch.device("cpu"))
            score[recipe] = found["ccc_mean"]
        assert score["anclaf-s-8"] > score["anclaf"] + 0.1, (seed, score)
        assert score["anclaf-sa-8"] > score["anclaf"] + 0.1, (seed, score)


class Planted(NamedTuple):
    """Windows, and which frames (B, L) show a movement."""

    windows: Windows
    moved: Tensor


def planted(batch: int, frames: int, draw: torch.Generator) -> Planted:
    """A level that jumps every 6 to 19 frames, and is shown only in the frame in which it jumps."""
    mixing = torch.randn(3, 16, generator=torch.Generator().manual_seed(99))
    features = 0.3 * torch.randn(batch, frames, 16, generator=draw)
    labels = torch.zeros(batch, frames, 2)
    moved = torch.zeros(batch, frames, dtype=torch.bool)
    for b in range(batch):
        at = -int(torch.randint(1, 20, (), generator=draw))
        while at < frames:
            level = torch.rand(2, generator=draw) * 2 - 1
            if at >= 0:
                moved[b, at] = True
                features[b, at] += torch.cat([level, torch.ones(1)]) @ mixing
            labels[b, max(at, 0) :] = level
            at += int(torch.randint(6, 20, (), generator=draw))
    everywhere = torch.ones(batch, frames, dtype=torch.bool)
    return Planted(Windows(features, torch.zeros_like(labels), labels, everywhere), moved)


def taught(head: AnclafS, seed: int) -> AnclafS:
    """After 500 batches of planted movements."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2, betas=(0.5, 0.999))
    for _ in range(500):
        optimiser.zero_grad()
        head.loss(planted(16, 48, draw).windows, draw)["loss"].backward()
        optimiser.step()
    return head.eval()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_attention_peaks_at_planted_changes(seed: int) -> None:
    n = 8
    torch.manual_seed(seed)
    head = taught(
        AnclafSa(SIZES, AttentionSettings(encoding=32, state=16, n=n, weights="none")), seed
    )
    unseen, moved = planted(40, 120, torch.Generator().manual_seed(1234))
    with torch.no_grad():
        predicted = head.predict(unseen)
    attention = predicted.details["attention"][:, n:, 1:]  # of the frames n - 1 to 1 before
    shown = torch.stack([moved[:, t - n + 1 : t] for t in range(n, moved.shape[1])], dim=1)
    assert attention[shown].mean() > 3 * attention[~shown].mean()
    moving = shown.any(-1)
    latest = torch.where(shown, torch.arange(n - 1), -1).amax(-1)
    hits = attention.argmax(-1)[moving] == latest[moving]
    assert hits.float().mean() > 0.9
    # where the last movement is within reach, it is also what the prediction says
    truth, said = (rows[:, n:][moving][:, 0].numpy() for rows in (unseen.labels, predicted.mean))
    assert ccc(truth, said) > 0.8
