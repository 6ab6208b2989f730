"""Affective Processes on action unit intensities: the paper's five of BP4D and twelve of DISFA."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.metrics import icc, mse
from affcache.publish import create
from affcache.store import seal, write_labels
from affcache.windows import load_split
from stages.train.recipe import load
from tests.caches import FIELDS, publish_video, slow
from tests.stages.train.conftest import Outcome, quick

Command = Callable[..., Outcome]
UNITS = {
    "ap-au-bp4d": (6, 10, 12, 14, 17),
    "ap-au-disfa": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
}


def intensities(path: Path, units: tuple[int, ...], people: int = 9) -> Path:
    """A cache of a video a person with intensities from 0 to 5, one unit in ten not annotated."""
    draw = np.random.default_rng(len(units))
    loadings, mixing = draw.normal(size=(2, len(units))), draw.normal(size=(len(units), 24))
    create(path, "simulated", FIELDS, {})
    for i in range(people):
        name, split = f"v{i}", "train" if i < 6 else "validation" if i < 7 else "test"
        strength = np.clip(slow(draw, 120) @ loadings + 0.5, 0, 5).astype(np.float32)
        features = np.tanh(strength @ mixing * 0.3 + 0.5 * draw.normal(size=(120, 24)))
        publish_video(path, name, features, draw.random(120) < 0.95)
        strength[draw.random(strength.shape) < 0.1] = np.nan
        named = {"au_intensity_names": [f"AU{unit}" for unit in units]}
        about = {"subject": name, "split": {"au": split}, **named}
        write_labels(path, name, {"au_intensity": strength}, about)
    seal(path)
    return path


@pytest.mark.parametrize("recipe", list(UNITS))
def test_readout_train_evaluate_and_predict_on_intensities(
    recipe: str, tmp_path: Path, affcache: Command
) -> None:
    cache, run = intensities(tmp_path / "au.zarr", UNITS[recipe]), tmp_path / "run"
    assert affcache("readout", "--cache", cache, "--task", "au_intensity").status == 0
    words = ("train", "--cache", cache, "--recipe", recipe, "--out", run)
    done = affcache(*words, *quick("optimiser.learning_rate=3e-3", "training.iterations=40"))
    assert done.status == 0, done.err
    document = json.loads(affcache("evaluate", run, "--json").out)
    names = [f"AU{unit}" for unit in UNITS[recipe]]
    assert document["targets"] == {"au_intensity": names}
    rows = {row["predictor"]: row for row in document["scores"] if row["over"] == "frames"}
    sequences = load_split(cache, "au_intensity", "readout", "test")
    for k, name in enumerate(names):
        truth = np.concatenate([s.labels[s.valid, k] for s in sequences]).astype(float)
        said = np.concatenate([s.pseudo[s.valid, k] for s in sequences]).astype(float)
        known = np.isfinite(truth)
        truth, said = truth[known], said[known]
        assert rows["pseudo-labels"][f"icc_{name}"] == pytest.approx(icc(truth, said), abs=1e-6)
        scaled = [2.5 * (values + 1) for values in (truth, said)]
        assert rows["pseudo-labels"][f"mse_{name}"] == pytest.approx(mse(*scaled), abs=1e-5)
        assert np.isfinite([rows["ap"][f"icc_{name}"], rows["ap"][f"mse_{name}"]]).all()
    assert rows["ap"]["icc_mean"] > 0.2
    assert [row["target"] for row in document["calibration"]] == [*names, "all"]
    assert all(0 < row["coverage_80"] <= 1 for row in document["calibration"])
    swept = json.loads(affcache("sweep", run, "--counts", "5,70", "--json").out)
    assert swept["metric"] == "ICC"
    assert {p["context"] for p in swept["points"]} == {5, 70}
    one = intensities(tmp_path / "one.zarr", UNITS[recipe], people=1)
    done = affcache("predict", run, one, "--out", tmp_path / "out", "--samples", 2)
    assert done.status == 0, done.err


def test_the_papers_settings_for_action_units() -> None:
    """Paper 000, section 4.2: as for valence and arousal but for batch, rate and decay."""
    for name in UNITS:
        recipe, other = load(recipe=name), load(recipe="ap")
        assert recipe.task == "au_intensity"
        assert recipe.windows.batch == 6
        assert recipe.optimiser.learning_rate == 1e-4
        assert recipe.optimiser.weight_decay == 5e-4
        assert recipe.training == other.training
        assert recipe.model == other.model
        assert (recipe.windows.shortest, recipe.windows.longest) == (35, 70)
