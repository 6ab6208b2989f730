"""How much context, and which: a run scored for every number and choice of frames (Figure 3).

Paper 000, section 5: a trained model is given the n frames of lowest or largest ||sigma_C||, or
random ones. Every window is encoded once; only its context changes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affcache.arrays import write_json
from affcache.metrics import METRICS
from affcache.progress import Progress, say
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from stages.train import data, inference
from stages.train.ap.context import RULES
from stages.train.contexts import choosing
from stages.train.device import described
from stages.train.evaluation import contenders, labelled_split
from stages.train.figures.sweep import draw_sweep
from stages.train.heads.ap import AffectiveProcess
from stages.train.run import Run
from stages.train.scoring import headline, headline_name, scores

FEW = (1, 2, 3, 5, 7)  # and from ten on every fifth


def sweep(
    run: Run,
    cache: Cache,
    split: str | None,
    counts: Sequence[int],
    device: torch.device,
) -> dict[str, Any]:
    """Score a run under every context, and write sweep-<split>.json, .csv and .png beside it.

    Parameters
    ----------
    cache : the run's own, or another of the same fingerprint
    split : None takes "validation" where it has labels, else "test": what a sweep finds best on a
        split is best on that split
    counts : numbers of context frames; none takes 1, 2, 3, 5, 7, 10, 15, ... up to a window

    Returns
    -------
    A document of "points" (a row per rule and number), "pseudo-labels", "as trained" and "best".

    Raises
    ------
    RunError
        If the head chooses no context, or the split has no frame to score.
    """
    data.same_fingerprint(run.config["cache"], cache)
    recipe, sizes = run.recipe, run.sizes
    head, _ = run.trained_head(device)
    process = choosing(head, recipe.head)
    split, sequences = labelled_split(run, cache, split, ("validation", "test"))
    say(f"sweeping {run.folder} on {len(sequences)} {split} videos, {described(device)}")
    length = recipe.windows.test_length
    rules = RULES if recipe.model.has_latent else ("random",)
    numbers = list(counts) or usual(length or max(map(len, sequences)))
    contexts = [(rule, n) for rule in rules for n in numbers]
    said = predictions(process, sequences, length, [f"{r}:{n}" for r, n in contexts], device)
    tables = [scores(sizes, sequences, own) for own in said]
    points: list[dict[str, Any]] = [
        {"selection": rule, "context": n, "score": headline(table), **_flat(table)}
        for (rule, n), table in zip(contexts, tables, strict=True)
    ]
    baseline = contenders(recipe.head, sequences, said[0]).get("pseudo-labels")
    document = {
        "run": str(run.folder),
        "cache": str(cache.path),
        "split": split,
        "head": recipe.head,
        "metric": headline_name(sizes),
        "as trained": {"selection": recipe.model.selection, "context": recipe.model.context},
        "pseudo-labels": None if baseline is None else _flat(scores(sizes, sequences, baseline)),
        "best": max(points, key=lambda point: point["score"]),
        "points": points,
    }
    stem = run.folder / f"sweep-{split}"
    write_json(stem.with_suffix(".json"), document)
    write_csv(stem.with_suffix(".csv"), points)
    columns = [f"{METRICS[t][0]}_{name}" for t, names in sizes.targets.items() for name in names]
    draw_sweep(stem.with_suffix(".png"), document, columns)
    return document


def usual(length: int) -> list[int]:
    """Numbers of context frames up to the length of a window, that included.

    >>> usual(22)
    [1, 2, 3, 5, 7, 10, 15, 20, 22]
    """
    step = max(5, length // 70 * 5)
    return sorted({n for n in (*FEW, *range(10, length, step), length) if n <= length})


def predictions(
    head: AffectiveProcess,
    sequences: Sequence[FrameSequence],
    length: int,
    contexts: Sequence[str],
    device: torch.device,
) -> list[list[np.ndarray]]:
    """Means (T, K) of every sequence for every context, NaN where there is no face.

    Parameters
    ----------
    contexts : such as "lowest:40", see `ap_context.parse`
    """
    found = [[np.full(s.pseudo.shape, np.nan, np.float32) for s in sequences] for _ in contexts]
    with Progress("sweeping", sum(map(len, sequences)), "frames") as progress:
        for group in inference.groups(sequences, length):
            windows = inference.windows_of(sequences, group, device)
            with torch.inference_mode():
                for own, means in zip(found, head.means(windows, contexts), strict=True):
                    for row, (i, span) in zip(means.cpu().numpy(), group, strict=True):
                        own[i][span.keep : span.stop] = row[span.keep - span.start :]
            progress.advance(sum(span.stop - span.keep for _, span in group))
    return found


def write_csv(path: Path, points: Sequence[dict[str, Any]]) -> None:
    """One row per point, every metric of every target."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(points[0]))
        writer.writeheader()
        writer.writerows(points)


def _flat(table: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: value for own in table.values() for name, value in own.items()}
