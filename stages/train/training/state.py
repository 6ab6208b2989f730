"""What training changes, how it begins, and how it is kept: in checkpoints and in metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from affcache.windows import Sequence as FrameSequence
from stages.train import checkpoint
from stages.train.checkpoint import Standing
from stages.train.heads import Head
from stages.train.recipe import Recipe
from stages.train.run import Run
from stages.train.training import optimisers, starting
from stages.train.training.averaging import Average


@dataclass
class State:
    """All that iterations change; `stages.train.checkpoint` says what is kept of it."""

    head: Head
    optimiser: torch.optim.Optimizer
    average: Average
    standing: Standing = field(default_factory=Standing)
    sums: dict[str, Tensor] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


def begin(run: Run, training: Sequence[FrameSequence], device: torch.device) -> State:
    """A run's state on the device: as its last checkpoint says, else with the initial weights."""
    recipe, head = run.recipe, run.new_head()
    if not run.last.exists():
        starting.inherit(run, head)
        head.prepare(training)
    head.to(device).train()
    average = Average(head, recipe.optimiser.ema)
    state = State(head, optimisers.make(head, recipe.optimiser, device), average)
    if run.last.exists():
        state.standing, state.sums = checkpoint.resume(run.last, head, state.optimiser, average)
        done = state.standing.iteration // recipe.training.iterations
        state.rows = [row for row in run.metrics() if row["epoch"] <= done]
    return state


def keep(run: Run, state: State, row: dict[str, Any]) -> None:
    """Record an epoch: metrics, then the best weights, then the checkpoint that counts them in."""
    state.rows, state.sums = [*state.rows, row], {}
    run.write_metrics(state.rows)
    now, best = row.get("validation_score"), state.standing.best_score
    if now is not None and (best is None or now > best):
        state.standing = replace(state.standing, best_epoch=row["epoch"], best_score=now)
        with state.average.applied():
            checkpoint.save(run.best, state.head, state.standing)
    save(run, state)


def save(run: Run, state: State) -> None:
    """The checkpoint to go on from."""
    checkpoint.save(
        run.last, state.head, state.standing, state.optimiser, state.average, state.sums
    )


def out_of_patience(state: State, recipe: Recipe) -> bool:
    """Whether the best of all epochs is too long ago; nothing is where nothing is validated."""
    patience, best = recipe.training.patience, state.standing.best_epoch
    return 0 < patience <= len(state.rows) - best and best > 0
