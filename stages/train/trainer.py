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
from torch import Tensor

from affcache.errors import RunError
from affcache.progress import Progress, say
from affcache.windows import RandomWindows
from affcache.windows import Sequence as FrameSequence
from stages.train import checkpoint, inference, scoring
from stages.train.batches import batches, on, stream
from stages.train.checkpoint import Standing
from stages.train.device import default_generator
from stages.train.heads import Head, Windows
from stages.train.interrupts import StopRequest
from stages.train.recipe import Optimiser, Recipe
from stages.train.run import Run

SPEAK_EVERY = 25  # iterations between two looks at the loss, each of which waits for the device


def train(
    run: Run,
    training: Sequence[FrameSequence],
    validation: Sequence[FrameSequence],
    device: torch.device,
    workers: int = 0,
    start_method: str | None = None,
) -> Standing:
    """Train a run to its end, from wherever it stands.

    Parameters
    ----------
    run : its folder; checkpoints and metrics go there
    training, validation : sequences; an empty validation keeps the last epoch
    workers, start_method : see `stages.train.batches.batches`

    Raises
    ------
    RunError
        If the loss stops being a number.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, when everything is saved.
    """
    recipe, seed = run.recipe, int(run.config["seed"])
    head = run.new_head().to(device).train()
    optimiser = adam(head, recipe.optimiser, device)
    standing, sums = _resume(run, head, optimiser)
    first, per_epoch = standing.iteration, recipe.training.iterations
    total = recipe.training.epochs * per_epoch
    rows = [row for row in run.metrics() if row["epoch"] * per_epoch <= standing.iteration]
    generator = default_generator(device)
    source = RandomWindows(
        training,
        shortest=recipe.windows.shortest,
        longest=recipe.windows.longest,
        batch=recipe.windows.batch,
        seed=seed,
    )
    if source.unused:
        say(f"never drawn, too short or hardly labelled: {', '.join(source.unused)}")
    feed = batches(source, first, total, workers, start_method)
    began = time.monotonic()
    with (
        StopRequest() as stop,
        Progress("training", total - first, "iterations") as progress,
    ):
        for k, windows in enumerate(feed, start=first):
            generator.manual_seed(stream(seed, k))
            optimiser.param_groups[0]["lr"] = learning_rate(recipe, k)
            terms = step(head, optimiser, on(device, windows), generator)
            sums = {name: sums.get(name, 0) + value for name, value in terms.items()}
            standing = replace(standing, iteration=k + 1)
            if (k + 1) % per_epoch == 0:
                row = _row(run, standing, per_epoch, sums, head, recipe, validation, device)
                row["seconds"] = round(time.monotonic() - began, 3)
                rows, sums, began = [*rows, row], {}, time.monotonic()
                standing = _keep(run, head, optimiser, standing, rows)
                say(_line(row, standing, recipe))
            if (k + 1) % SPEAK_EVERY == 0 or k + 1 == total:
                progress.advance(k + 1 - first - progress.done, f"loss {float(terms['loss']):.3f}")
            if stop.raised:
                checkpoint.save(run.last, head, standing, optimiser, sums)
                say(f"stopped after iteration {k + 1} of {total}; the same command goes on")
                raise KeyboardInterrupt
    return standing


def step(
    head: Head, optimiser: torch.optim.Adam, windows: Windows, generator: torch.Generator
) -> dict[str, Tensor]:
    """One descent of the loss; returns its terms without their graph."""
    optimiser.zero_grad(set_to_none=True)
    terms = head.loss(windows, generator)
    terms["loss"].backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return {name: value.detach() for name, value in terms.items()}


def adam(head: Head, settings: Optimiser, device: torch.device) -> torch.optim.Adam:
    """Adam in one fused kernel per step where the device has it."""
    return torch.optim.Adam(
        head.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def learning_rate(recipe: Recipe, k: int) -> float:
    """At iteration k: constant, or half a cosine from the learning rate down to 0 at the end."""
    if recipe.optimiser.schedule == "constant":
        return recipe.optimiser.learning_rate
    total = recipe.training.epochs * recipe.training.iterations
    return recipe.optimiser.learning_rate * 0.5 * (1 + math.cos(math.pi * k / total))


def _resume(
    run: Run, head: Head, optimiser: torch.optim.Adam
) -> tuple[Standing, dict[str, Tensor]]:
    if not run.last.exists():
        return Standing(), {}
    standing, sums = checkpoint.load(run.last, head, optimiser)
    device = next(head.parameters()).device
    return standing, {name: value.to(device) for name, value in sums.items()}


def _row(
    run: Run,
    standing: Standing,
    per_epoch: int,
    sums: dict[str, Tensor],
    head: Head,
    recipe: Recipe,
    validation: Sequence[FrameSequence],
    device: torch.device,
) -> dict[str, Any]:
    """What metrics.jsonl says about the epoch that just ended."""
    epoch = standing.iteration // per_epoch
    means = {name: float(value) / per_epoch for name, value in sums.items()}
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"epoch {epoch}: the loss is {means['loss']}; try a lower optimiser.learning_rate"
        )
    row: dict[str, Any] = {"epoch": epoch, "iteration": standing.iteration, **means}
    row["learning_rate"] = learning_rate(recipe, standing.iteration)
    if validation:
        head.eval()
        predicted = inference.predict(head, validation, recipe.windows.test_length, device)
        head.train()
        table = scoring.scores(run.sizes, validation, [p.mean for p in predicted])
        row |= {"validation": table, "validation_score": scoring.headline(table)}
    return row | head.report()


def _keep(
    run: Run,
    head: Head,
    optimiser: torch.optim.Adam,
    standing: Standing,
    rows: list[dict[str, Any]],
) -> Standing:
    """Record an epoch: metrics, then the best weights, then the checkpoint that counts them in."""
    now = rows[-1].get("validation_score")
    run.write_metrics(rows)
    if now is not None and (standing.best_score is None or now > standing.best_score):
        standing = replace(standing, best_epoch=rows[-1]["epoch"], best_score=now)
        checkpoint.save(run.best, head, standing)
    checkpoint.save(run.last, head, standing, optimiser)
    return standing


def _line(row: dict[str, Any], standing: Standing, recipe: Recipe) -> str:
    said = f"epoch {row['epoch']}/{recipe.training.epochs}: loss {row['loss']:.4f}"
    if standing.best_score is not None:
        said += (
            f", validation score {row['validation_score']:.3f} "
            f"(best {standing.best_score:.3f} in epoch {standing.best_epoch})"
        )
    return f"{said}, {recipe.training.iterations / max(row['seconds'], 1e-9):.0f} iterations/s"
