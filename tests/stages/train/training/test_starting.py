"""Weights of another run as initial ones: what fits, what is said, what is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affcache.errors import RunError
from affcache.targets import FIXED
from stages.train.heads import Sizes
from stages.train.heads.multitask import MultiTask, MultiTaskSettings
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.run import open_run
from stages.train.training import starting

SHORT = (
    "training.epochs=1",
    "training.iterations=2",
    "windows.batch=4",
    "model.encoding=6",
    "model.state=5",
)


def train(cache: Path, out: Path, head: str, *changes: str, start: Path | None = None) -> Path:
    job = Job(cache=cache, recipe=load(head, None, (*SHORT, *changes)), start=start, device="cpu")
    return run_job(job, material(job), out).folder


@pytest.fixture
def short(cache: Path, tmp_path: Path) -> Path:
    """A trained anclaf-s of n = 2."""
    return train(cache, tmp_path / "short", "anclaf-s", "model.n=2")


def test_a_longer_n_starts_from_a_shorter_ones_weights(
    cache: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = "optimiser.learning_rate=0.0"
    longer = train(cache, tmp_path / "longer", "anclaf-s", "model.n=4", still, start=short)
    before, after = (load_file(run / "best.safetensors") for run in (short, longer))
    assert before.keys() == after.keys()
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert f"initial weights of {short} (iteration 2)\n" in capsys.readouterr().err


def test_attention_is_added_to_the_weights_of_the_plain_variant(
    cache: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = "optimiser.learning_rate=0.0"
    run = train(cache, tmp_path / "sa", "anclaf-sa", "model.n=2", still, start=short)
    before, after = load_file(short / "best.safetensors"), load_file(run / "best.safetensors")
    fresh = {"model.context.weight", "model.attention.weight"}
    assert after.keys() - before.keys() == fresh
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert "of the seed's own: context.weight, attention.weight" in capsys.readouterr().err


def test_the_config_says_where_the_weights_came_from(
    cache: Path, short: Path, tmp_path: Path
) -> None:
    run = train(cache, tmp_path / "longer", "anclaf-s", "model.n=4", start=short)
    said = json.loads((run / "config.json").read_text())["start"]
    assert said == starting.provenance(short)
    assert (said["run"], said["head"], said["weights"]) == (
        str(short),
        "anclaf-s",
        "best.safetensors",
    )
    assert json.loads((short / "config.json").read_text())["start"] is None


def test_the_same_command_goes_on_and_another_start_is_another_run(
    cache: Path, short: Path, tmp_path: Path
) -> None:
    out = tmp_path / "longer"
    train(cache, out, "anclaf-s", "model.n=4", start=short)
    weights = (out / "last.safetensors").read_bytes()
    train(cache, out, "anclaf-s", "model.n=4", start=short)
    assert (out / "last.safetensors").read_bytes() == weights
    with pytest.raises(RunError, match=r"holds another run \(start: .* there, None now\)"):
        train(cache, out, "anclaf-s", "model.n=4")


def test_a_source_that_changed_since_is_noticed(cache: Path, short: Path, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    run = open_run(train(cache, out, "anclaf-s", "model.n=4", start=short))
    run.last.unlink()
    (short / "best.safetensors").write_bytes((short / "last.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"has been trained on since .*longer was started from it"):
        starting.inherit(run, run.new_head())


def test_weights_without_a_place_are_refused(cache: Path, short: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds inputs\.weight, .* for which this head has no pla"):
        job = Job(cache=cache, recipe=load("anclaf", None, SHORT[:4]), start=short, device="cpu")
        run_job(job, material(job), tmp_path / "plain")


def test_weights_of_another_width_are_refused(cache: Path, short: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"output\.weight is 2 x 5 there and 2 x 7 here; give both"):
        train(cache, tmp_path / "wider", "anclaf-s", "model.state=7", start=short)
    assert not (tmp_path / "wider").exists()


def test_a_folder_without_a_run_or_without_weights_is_refused(short: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        starting.provenance(tmp_path / "nothing")
    for weights in short.glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(RunError, match="has no weights to start from; finish `affcache train`"):
        starting.provenance(short)


def test_class_weights_are_those_of_the_new_training_set(cache: Path, tmp_path: Path) -> None:
    job = Job(cache=cache, recipe=load("anclaf", None, SHORT[:4]), device="cpu")
    first = run_job(job, material(job), tmp_path / "first").folder
    learn = material(job)
    fewer = learn._replace(training=learn.training[:2])
    again = run_job(dataclasses.replace(job, start=first), fewer, tmp_path / "again").folder
    one, other = (load_file(run / "best.safetensors") for run in (first, again))
    assert not torch.equal(one["model.class_weights"], other["model.class_weights"])


def test_outputs_for_other_columns_are_made_afresh_although_they_would_fit() -> None:
    """Valence's weights are not those of a unit that stands in its place."""
    orders = [{task: FIXED[task] for task in tasks} for tasks in (("va", "au"), ("au", "va"))]
    first, second = (
        MultiTask(Sizes({"features": 4}, targets, 25.0), MultiTaskSettings(width=3))
        for targets in orders
    )
    weights = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    before = second.output.weight.clone()
    assert starting.fit(second, weights, "there", False) == ["output.weight", "output.bias"]
    assert second.output.weight.equal(before)
    assert second.state_dict()["body.0.0.weight"].equal(weights["body.0.0.weight"])
    assert starting.fit(second, weights, "there", True) == []
    assert second.output.weight.equal(weights["output.weight"])
