"""Optimisers, clipping and the average of weights: textbook steps, and nothing lost by stopping."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from affcache.errors import RecipeError
from stages.train import checkpoint
from stages.train.heads.ap import AffectiveProcess
from stages.train.recipe import load
from stages.train.run import open_run
from stages.train.training import optimisers
from stages.train.training.averaging import Average
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.training.test_trainer import CPU, assert_same_run, interrupt_at, metrics

Command = Callable[..., Outcome]

SGD = ("optimiser.name=sgd", "optimiser.learning_rate=0.01")
VARIANTS = {
    "adam": ("optimiser.schedule=constant",),
    "adamw": (
        "optimiser.name=adamw",
        "optimiser.schedule=exponential",
        "optimiser.after=1",
        "optimiser.ema=0.9",
        "optimiser.clip=0.5",
    ),
    "sgd, momentum": (*SGD, "optimiser.nesterov=true", "optimiser.ema=0.99"),
    "sgd": (*SGD, "optimiser.momentum=0", "optimiser.schedule=restarts", "optimiser.period=1"),
    "bfloat16": ("training.precision=bfloat16", "optimiser.clip=1"),
}


class Plain(nn.Linear):
    """A head, as far as an optimiser can see."""

    def rates(self) -> dict[str, float]:
        return {}


class Rated(nn.Linear):
    """A head, as far as an optimiser can see, whose bias learns ten times as fast."""

    def rates(self) -> dict[str, float]:
        return {"bias": 10.0}


def settings(*changes: str) -> Any:
    return load("ap", None, changes).optimiser


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_is_stopped_after_every_iteration_equals_one_that_never_was(
    variant: str,
    cache: Path,
    tmp_path: Path,
    affcache: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parameters with a rate of their own stand in another order inside the optimiser."""
    monkeypatch.setattr(AffectiveProcess, "rates", lambda self: {"decoder.third.bias": 3.0})
    changes = quick("training.epochs=2", "training.iterations=3", *VARIANTS[variant])
    command = ("train", "--cache", cache, *changes, "--out")
    assert affcache(*command, tmp_path / "whole").status == 0
    for k in range(6):
        with monkeypatch.context() as patch:
            interrupt_at(patch, k, signal.SIGINT)
            assert affcache(*command, tmp_path / "broken").status == 130
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def walk(optimiser: torch.optim.Optimizer, weight: Tensor, steps: int) -> None:
    """Some steps down a hill whose gradient differs from step to step."""
    for k in range(steps):
        weight.grad = torch.sin(weight.detach() * 3 + k)
        optimiser.step()


def textbook_adam(w: Tensor, decoupled: bool) -> Tensor:
    """Kingma and Ba, algorithm 1; decoupled decay as Loshchilov and Hutter, algorithm 2."""
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for k in range(10):
        g = torch.sin(w * 3 + k) + (0 if decoupled else 0.1 * w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        up, down = m / (1 - 0.9 ** (k + 1)), v / (1 - 0.999 ** (k + 1))
        w = w - 0.02 * ((0.1 * w if decoupled else 0) + up / (down.sqrt() + 1e-8))
    return w


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_take_the_textbooks_steps(name: str) -> None:
    torch.manual_seed(0)
    layer = Plain(4, 3, bias=False)
    start = layer.weight.detach().clone()
    chosen = settings(
        f"optimiser.name={name}", "optimiser.learning_rate=0.02", "optimiser.weight_decay=0.1"
    )
    walk(optimisers.make(layer, chosen, CPU), layer.weight, 10)
    torch.testing.assert_close(layer.weight, textbook_adam(start, name == "adamw"))


@pytest.mark.parametrize("nesterov", ["true", "false"])
def test_sgd_takes_the_textbooks_steps(nesterov: str) -> None:
    torch.manual_seed(0)
    layer = Plain(4, 3, bias=False)
    w, velocity = layer.weight.detach().clone(), torch.zeros(3, 4)
    chosen = settings(
        "optimiser.name=sgd",
        "optimiser.learning_rate=0.1",
        "optimiser.momentum=0.8",
        "optimiser.weight_decay=0.01",
        f"optimiser.nesterov={nesterov}",
    )
    walk(optimisers.make(layer, chosen, CPU), layer.weight, 10)
    for k in range(10):
        g = torch.sin(w * 3 + k) + 0.01 * w
        velocity = g if k == 0 else 0.8 * velocity + g
        w = w - 0.1 * (g + 0.8 * velocity if nesterov == "true" else velocity)
    torch.testing.assert_close(layer.weight, w)


def test_nesterov_without_momentum_is_refused_with_advice() -> None:
    wrong = settings(*SGD, "optimiser.momentum=0", "optimiser.nesterov=true")
    with pytest.raises(RecipeError, match=r"optimiser.momentum = 0; .*such as 0.9"):
        optimisers.make(Rated(2, 2), wrong, CPU)


def test_a_head_scales_the_rate_of_single_parameters() -> None:
    head = Rated(2, 2)
    optimiser = optimisers.make(head, settings(*SGD, "optimiser.momentum=0"), CPU)
    before = {name: p.detach().clone() for name, p in head.named_parameters()}
    optimisers.set_rate(optimiser, 0.5)
    for group in optimiser.param_groups:
        group["weight_decay"] = 0.0
    for parameter in head.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    torch.testing.assert_close(head.weight, before["weight"] - 0.5)
    torch.testing.assert_close(head.bias, before["bias"] - 5.0)


def test_a_rate_for_a_parameter_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Rated.rates\(\) names no parameter: bias"):
        optimisers.make(Rated(2, 2, bias=False), settings(), CPU)


def test_the_average_is_its_formula_and_the_weights_come_back_to_the_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    average = Average(model, 0.6)
    expected = model.weight.detach().double()
    for k in range(12):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        average.update(k)
        decay = min(0.6, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * model.weight.detach().double()
    own = model.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(model.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.weight, own)


def test_without_an_average_the_weights_are_used_as_they_are() -> None:
    model = nn.Linear(3, 2)
    average, own = Average(model, 0.0), model.weight.detach().clone()
    average.update(3)
    with average.applied():
        assert torch.equal(model.weight, own)
    assert average.mean == {}


def test_the_average_is_what_is_kept_as_best_and_what_is_used(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    run = tmp_path / "run"
    changes = quick("training.epochs=1", "optimiser.ema=0.99", "optimiser.learning_rate=0.01")
    assert affcache("train", "--cache", cache, "--out", run, *changes).status == 0
    best, last = load_file(run / "best.safetensors"), load_file(run / "last.safetensors")
    for name, value in best.items():
        average = last[f"average.{name.removeprefix('model.')}"]
        assert torch.equal(value, average)
        assert not torch.equal(value, last[name])
    used = nn.Linear(16, 16)
    average = Average(used, 0.5)
    with torch.no_grad():
        used.weight.add_(1)
    checkpoint.save(tmp_path / "x", used, checkpoint.Standing(), average=average)
    again = nn.Linear(16, 16)
    checkpoint.load(tmp_path / "x", again)
    assert torch.equal(again.weight, average.mean["weight"])


def test_clipping_shortens_long_gradients_and_leaves_short_ones(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    """Plain SGD with rate 1 moves by the gradient: one step is then at most as long as the clip."""
    plain = ("optimiser.momentum=0", "optimiser.weight_decay=0", "optimiser.schedule=constant")
    lengths = {}
    for clip in (0.0, 0.01, 1e6):
        changes = (*SGD, *plain, "optimiser.learning_rate=1", f"optimiser.clip={clip}")
        run = tmp_path / str(clip)
        words = quick("training.epochs=1", "training.iterations=1", *changes)
        assert affcache("train", "--cache", cache, "--out", run, *words).status == 0
        lengths[clip] = moved(run)
    assert lengths[0.01] == pytest.approx(0.01, rel=1e-3)
    assert lengths[0.0] == lengths[1e6] > 0.02


def moved(folder: Path) -> float:
    """How far a run's weights are from where its seed started them."""
    run = open_run(folder)
    start, end = run.new_head(), run.trained_head(CPU)[0]
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return float(torch.cat([(a - b).flatten() for a, b in pairs]).detach().norm())


def test_training_ends_when_patience_does_and_stays_ended(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    words = quick("training.epochs=9", "training.patience=2", "optimiser.learning_rate=0")
    command = ("train", "--cache", cache, "--out", tmp_path / "run", *words)
    done = affcache(*command)
    assert done.status == 0, done.err
    assert "no better epoch for 2: training ends early" in done.err
    rows = metrics(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert affcache(*command).status == 0
    assert metrics(tmp_path / "run") == rows
