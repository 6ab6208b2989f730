"""One loop for all heads: batch, loss, step; an epoch's end validates, records and saves.

Everything random in iteration k is a function of (seed, k), and the learning rate is a function of
k, so a run that is interrupted anywhere goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from affcache.errors import RunError
from affcache.progress import Progress, readable_bytes, say
from affcache.windows import Sequence as FrameSequence
from stages.train import inference, scoring
from stages.train.checkpoint import Standing
from stages.train.device import default_generator
from stages.train.heads import Windows
from stages.train.recipe import Recipe
from stages.train.run import Run
from stages.train.seeds import stream
from stages.train.training import optimisers, resident
from stages.train.training.batches import batches, choose_way
from stages.train.training.board import board
from stages.train.training.descent import Descent, Terms, descent
from stages.train.training.interrupts import StopRequest
from stages.train.training.schedules import learning_rate
from stages.train.training.source import windows_of
from stages.train.training.state import State, begin, keep, out_of_patience, save

SPEAK_EVERY = 0.5  # seconds between two looks at the loss, each of which waits for the device


def train(
    run: Run,
    training: Sequence[FrameSequence],
    validation: Sequence[FrameSequence],
    device: torch.device,
    workers: int = 0,
    data: str = "auto",
) -> Standing:
    """Train a run to its end, from wherever it stands.

    Parameters
    ----------
    run : its folder; checkpoints and metrics go there
    training, validation : sequences; an empty validation keeps the last epoch
    workers, data : see `stages.train.training.batches.batches`

    Raises
    ------
    RunError
        If the loss stops being a number.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, when everything is saved.
    """
    recipe = run.recipe
    state = begin(run, training, device)
    first, per_epoch = state.standing.iteration, recipe.training.iterations
    total = recipe.training.epochs * per_epoch
    if out_of_patience(state, recipe):
        return state.standing
    if first:
        say(f"going on after iteration {first} of {total}")
    source = windows_of(run, training)
    way = choose_way(data, source, device, workers)
    if way == "device":
        say(f"all {readable_bytes(resident.size(source))} of training data on {device.type}")
    feed = batches(source, first, total, device, way, workers)
    compute, generator = descent(state.head, recipe.training, device), default_generator(device)
    began = spoke = time.monotonic()
    with (
        StopRequest() as stop,
        board(run.folder / "tensorboard", len(state.rows)) as write,
        Progress("training", total - first, "iterations") as progress,
    ):
        for k, windows in enumerate(feed, start=first):
            generator.manual_seed(stream(run.config["seed"], k))
            terms = step(state, compute, windows, generator, recipe, k)
            if (k + 1) % per_epoch == 0:
                row = end_epoch(run, state, recipe, validation, device)
                row["seconds"] = round(time.monotonic() - began, 3)
                began = time.monotonic()
                keep(run, state, row)
                write(row)
                say(_line(row, state.standing, recipe, min(per_epoch, k + 1 - first)))
            if time.monotonic() - spoke >= SPEAK_EVERY or k + 1 == total:
                spoke = time.monotonic()
                progress.advance(k + 1 - first - progress.done, f"loss {float(terms['loss']):.3f}")
            if out_of_patience(state, recipe):
                say(f"no better epoch for {recipe.training.patience}: training ends early")
                break
            if stop.raised:
                save(run, state)
                say(f"stopped after iteration {k + 1} of {total}; the same command goes on")
                raise KeyboardInterrupt
    return state.standing


def step(
    state: State,
    compute: Descent,
    windows: Windows,
    generator: torch.Generator,
    recipe: Recipe,
    k: int,
) -> Terms:
    """Iteration k: one descent of the loss; returns its terms without their graph."""
    terms = compute(windows, generator)
    if recipe.optimiser.clip:
        torch.nn.utils.clip_grad_norm_(state.head.parameters(), recipe.optimiser.clip)
    optimisers.set_rate(state.optimiser, learning_rate(recipe, k))
    state.optimiser.step()
    state.average.update(k)
    state.sums = {name: state.sums.get(name, 0) + value for name, value in terms.items()}
    state.standing = replace(state.standing, iteration=k + 1)
    return terms


def end_epoch(
    run: Run,
    state: State,
    recipe: Recipe,
    validation: Sequence[FrameSequence],
    device: torch.device,
) -> dict[str, Any]:
    """What metrics.jsonl says about the epoch that just ended."""
    head, standing, per_epoch = state.head, state.standing, recipe.training.iterations
    epoch = standing.iteration // per_epoch
    means = {name: float(value) / per_epoch for name, value in state.sums.items()}
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"epoch {epoch}: the loss is {means['loss']}; try a lower optimiser.learning_rate"
        )
    row: dict[str, Any] = {"epoch": epoch, "iteration": standing.iteration, **means}
    row["learning_rate"] = learning_rate(recipe, standing.iteration)
    with state.average.applied():
        if validation:
            head.eval()
            predicted = inference.predict(head, validation, recipe.windows.test_length, device)
            head.train()
            table = scoring.scores(run.sizes, validation, [p.mean for p in predicted])
            row |= {"validation": table, "validation_score": scoring.headline(table)}
        return row | head.report()


def _line(row: dict[str, Any], standing: Standing, recipe: Recipe, iterations: int) -> str:
    """An epoch in words; `iterations` is how many of it this process computed."""
    said = f"epoch {row['epoch']}/{recipe.training.epochs}: loss {row['loss']:.4f}"
    if standing.best_score is not None:
        said += (
            f", validation score {row['validation_score']:.3f} "
            f"(best {standing.best_score:.3f} in epoch {standing.best_epoch})"
        )
    return f"{said}, {iterations / max(row['seconds'], 1e-9):.0f} iterations/s"
