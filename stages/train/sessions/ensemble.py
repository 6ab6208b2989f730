"""What stands behind `affcache ensemble`: runs in, a table of each and of what all say together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from affcache.arrays import write_json
from affcache.errors import RunError
from affcache.metrics import METRICS
from affcache.progress import Progress
from affcache.store import Cache
from affcache.table import show
from affcache.windows import Sequence as FrameSequence
from stages.train import data
from stages.train.device import choose
from stages.train.evaluation import labelled_split, means
from stages.train.experiments.fusion import fuse, weights_of
from stages.train.heads import Sizes
from stages.train.inference import Predicted
from stages.train.prediction import write_csv
from stages.train.run import Run, open_run
from stages.train.scoring import scores


@dataclass(frozen=True)
class Member:
    """One run's part: what it says of the split that is scored, and its validation scores."""

    name: str
    split: str
    sequences: list[FrameSequence]
    said: list[np.ndarray]
    validated: dict[str, dict[str, float]]


def ensemble_command(
    folders: Sequence[Path],
    rule: str,
    cache_path: Path | None,
    split: str | None,
    out: Path | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Fuse runs, print scores of each and of all, write predictions if a folder is named."""
    runs = [open_run(folder) for folder in folders]
    sizes = same_targets(runs)
    cache = Cache(cache_path or runs[0].config["cache"]["path"])
    device = choose(device_name)
    names = [run.folder.name for run in runs]
    unique = len({*names}) == len(names)
    with Progress("predicting", len(runs), "runs") as progress:
        members = []
        for run in runs:
            name = run.folder.name if unique else str(run.folder)
            members.append(member(name, run, cache, split, device, needs_scores=rule == "ccc"))
            progress.advance(note=run.folder.name)
    weights = weights_of(sizes, [m.validated for m in members])
    first = members[0]
    if any([s.id for s in m.sequences] != [s.id for s in first.sequences] for m in members):
        raise RunError(f"{cache.path}: the runs do not see the same {first.split} videos")
    opinions = [np.stack([m.said[i] for m in members]) for i in range(len(first.sequences))]
    fused = [fuse(sizes, one, rule, weights) for one in opinions]
    rows = [row(m.name, sizes, m.sequences, m.said) for m in members]
    rows.append(row(f"ensemble: {rule}", sizes, first.sequences, fused))
    heavy = weight_rows(sizes, members, weights) if rule == "ccc" else []
    document = {
        "rule": rule,
        "cache": str(cache.path),
        "split": first.split,
        "runs": [str(run.folder) for run in runs],
        "scores": rows,
        "weights": heavy,
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "ensemble.json", document)
        for sequence, said in zip(first.sequences, fused, strict=True):
            write_csv(out / f"{sequence.id}.csv", sizes, sequence, Predicted(said, None, {}))
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    show(f"on the {first.split} split, all frames together", rows)
    if heavy:
        show("weights, from the validation split (eq. 3)", heavy)
    if out is not None:
        click.echo(f"a CSV for each video, and ensemble.json, in {out}")


def same_targets(runs: Sequence[Run]) -> Sizes:
    """The columns that all runs predict.

    Raises
    ------
    RunError
        If there are fewer than two runs, or they predict different things.
    """
    if len(runs) < 2:
        raise RunError("an ensemble takes two runs or more: affcache ensemble RUN RUN ...")
    first = runs[0]
    for run in runs[1:]:
        if list(run.sizes.targets.items()) != list(first.sizes.targets.items()):  # in this order
            raise RunError(
                f"{run.folder}: predicts {run.recipe.task}, but {first.folder} predicts "
                f"{first.recipe.task}; an ensemble needs runs of one task"
            )
    return first.sizes


def member(
    name: str,
    run: Run,
    cache: Cache,
    split: str | None,
    device: torch.device,
    needs_scores: bool,
) -> Member:
    """A run's predictions on the split, and its scores on the validation split if they are needed.

    Raises
    ------
    CacheError
        If the run's cache was extracted in another way than this one.
    RunError
        If a split has nothing to score.
    """
    data.same_fingerprint(run.config["cache"], cache)
    found, sequences = labelled_split(run, cache, split)
    validated = {}
    if needs_scores:
        _, validation = labelled_split(run, cache, "validation")
        validated = scores(run.sizes, validation, means(run, validation, device))
    return Member(name, found, sequences, means(run, sequences, device), validated)


def row(
    name: str, sizes: Sizes, sequences: Sequence[FrameSequence], said: Sequence[np.ndarray]
) -> dict[str, Any]:
    """A line of the table: first metric of each task, per dimension of affect and on average."""
    table = scores(sizes, sequences, said)
    line: dict[str, Any] = {"": name}
    for task, own in table.items():
        metric = METRICS[task][0]
        if task == "va":
            line |= {f"{metric.upper()} {n}": own[f"{metric}_{n}"] for n in sizes.targets[task]}
        line[f"{metric.upper()} {task}"] = own[f"{metric}_mean"]
    return line


def weight_rows(
    sizes: Sizes, members: Sequence[Member], weights: np.ndarray
) -> list[dict[str, Any]]:
    """A line per target, expressions once: the weight of each run."""
    rows = []
    for task, names in sizes.targets.items():
        first = sizes.columns(task).start
        for k, name in enumerate(["expressions"] if task == "expr" else names):
            own = zip(members, weights[:, first + k], strict=True)
            rows.append({"": name, **{m.name: float(weight) for m, weight in own}})
    return rows
