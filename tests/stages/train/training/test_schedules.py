"""The learning rate's course: torch's schedulers, asked for any iteration in any order."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from stages.train.recipe import Recipe, load
from stages.train.training.schedules import learning_rate, since_restart

Scheduler = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def recipe(*changes: str) -> Recipe:
    return load("ap", None, ["training.epochs=20", "training.iterations=5", *changes])


def by_torch(scheduler: Scheduler, steps: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.5e-4)
    course, rates = scheduler(optimiser), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        course.step()
    return rates


def test_cosine_is_torchs_annealing_over_all_iterations() -> None:
    expected = by_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=100), 101)
    for k in reversed(range(101)):
        assert learning_rate(recipe(), k) == pytest.approx(expected[k], abs=1e-12)


def test_constant_stays() -> None:
    assert learning_rate(recipe("optimiser.schedule=constant"), 20_000) == 2.5e-4


def test_exponential_waits_and_then_shrinks_at_the_start_of_each_epoch() -> None:
    ours = recipe("optimiser.schedule=exponential", "optimiser.gamma=0.8", "optimiser.after=10")
    expected = by_torch(
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.ConstantLR(o, 1.0), lr_scheduler.ExponentialLR(o, 0.8)],
            milestones=[10],
        ),
        20,
    )
    for k in range(100):
        assert learning_rate(ours, k) == pytest.approx(expected[k // 5], rel=1e-9)


@pytest.mark.parametrize(("period", "multiplier"), [(3, 1), (2, 2), (1, 3)])
def test_restarts_are_torchs_warm_restarts(period: int, multiplier: int) -> None:
    ours = recipe(
        "optimiser.schedule=restarts",
        f"optimiser.period={period}",
        f"optimiser.multiplier={multiplier}",
    )
    expected = by_torch(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5 * period, multiplier), 100
    )
    for k in range(100):
        assert learning_rate(ours, k) == pytest.approx(expected[k], rel=1e-9, abs=1e-12)


def test_a_period_is_over_where_the_next_begins() -> None:
    assert since_restart(0, 4, 2) == 0
    assert since_restart(3.5, 4, 2) == 3.5 / 4
    assert since_restart(4, 4, 2) == 0
    assert since_restart(8, 4, 2) == 0.5
    assert since_restart(12, 4, 2) == 0
    assert math.isclose(since_restart(1e6 + 0.5, 1, 1), 0.5)
