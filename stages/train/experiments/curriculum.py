"""A curriculum over the number of frames n: 2, 4, 8, 16, 32, each from the one before.

Paper 001, section 3.4: ANCLaF-S is trained from 2 to 32 steps, loading the weights of the shorter
into the longer; "subsequently" attention is added to each pretrained ANCLaF-S, which makes an
ANCLaF-SA of the same n. The table at the end has the rows of Tables 1 and 2: the per-frame head,
every n of either variant, and their averages. The best n is found by looking down its columns; on
which split they were computed stands above it.

Every stage is a run folder of its own, so a curriculum that was stopped goes on with the same
command, and each stage can be evaluated, predicted with and started from like any other run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affcache.errors import RecipeError
from affcache.metrics import ccc, icc, pcc, rmse
from affcache.progress import say
from affcache.store import Cache
from stages.train import scoring
from stages.train.evaluation import labelled_split, means
from stages.train.heads import head_class
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.run import Run
from stages.train.suggest import known

METRICS = {"rmse": rmse, "cor": pcc, "icc": icc, "ccc": ccc}  # in the order of the paper's tables
CHAINS: dict[str, tuple[str, ...]] = {
    # what is trained for a head: one without n once, each with n for every n
    "anclaf-s": ("anclaf", "anclaf-s"),
    "anclaf-sa": ("anclaf", "anclaf-s", "anclaf-sa"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run of a curriculum.

    Attributes
    ----------
    name : of its folder, such as "anclaf-s-4"
    head : of its recipe
    n : frames; None for a head that has no n
    start : name of the stage whose weights it starts from; None starts from the seed's
    """

    name: str
    head: str
    n: int | None = None
    start: str | None = None


def lengths_of(text: str) -> list[int]:
    """The numbers of `--curriculum 2,4,8`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RecipeError(
            f"--curriculum {text}: expected numbers of frames, such as 2,4,8,16,32"
        ) from None


def plan(head: str, lengths: Sequence[int]) -> list[Stage]:
    """The stages in the order of training.

    The first head with an n starts each length from the one before; a head after it starts from
    its predecessor's run of the same length.

    Raises
    ------
    RecipeError
        If the head has no curriculum, or the lengths do not increase.

    >>> [(stage.name, stage.start) for stage in plan("anclaf-s", [2, 4])]
    [('anclaf', None), ('anclaf-s-2', None), ('anclaf-s-4', 'anclaf-s-2')]
    """
    if head not in CHAINS:
        raise RecipeError(f"--curriculum: {head!r} has none; {known('head', head, CHAINS)}")
    if not lengths or list(lengths) != sorted(set(lengths)):
        said = ",".join(map(str, lengths))
        raise RecipeError(f"--curriculum {said}: expected lengths that increase, such as 2,4,8")
    stages: list[Stage] = []
    below: str | None = None
    for name in CHAINS[head]:
        if not _has_n(name):
            stages.append(Stage(name=name, head=name))
            continue
        starts = [f"{below}-{n}" if below else None for n in lengths]
        if below is None:
            starts[1:] = [f"{name}-{n}" for n in lengths[:-1]]
        stages += [
            Stage(name=f"{name}-{n}", head=name, n=n, start=start)
            for n, start in zip(lengths, starts, strict=True)
        ]
        below = name
    return stages


def jobs(stages: Sequence[Stage], job: Job, changes: Sequence[str], out: Path) -> Iterator[Job]:
    """What each stage trains: its head's own recipe with the command line's changes.

    Parameters
    ----------
    job : of the curriculum's last head; its recipe is replaced
    changes : "key=value"; a `model` key that only later heads know is left out of earlier ones
    """
    for stage in stages:
        own = [change for change in changes if _concerns(change, stage.head, job.recipe.head)]
        length = [] if stage.n is None else [f"model.n={stage.n}"]
        yield dataclasses.replace(
            job,
            recipe=load(stage.head, None, [*own, *length]),
            start=None if stage.start is None else out / stage.start,
        )


def curriculum(job: Job, lengths: Sequence[int], changes: Sequence[str], out: Path) -> list[Run]:
    """Train, or go on with, every stage; returns their runs in order.

    Parameters
    ----------
    job : as for one run of the last head
    lengths : values of n
    changes : "key=value" for every stage; `model.n` is the curriculum's
    out : folder of the run folders
    """
    if any(change.partition("=")[0].strip() == "model.n" for change in changes):
        raise RecipeError("--set model.n: --curriculum names the values of n; leave this out")
    stages = plan(job.recipe.head, lengths)
    runs = []
    for number, (stage, own) in enumerate(
        zip(stages, jobs(stages, job, changes, out), strict=True), start=1
    ):
        origin = "" if stage.start is None else f" from {stage.start}"
        say(f"stage {number} of {len(stages)}: {stage.name}{origin}")
        runs.append(run_job(own, material(own), out / stage.name))
    return runs


def tabulate(runs: Sequence[Run], device: torch.device) -> dict[str, Any]:
    """The rows of Tables 1 and 2: error and agreement per run, and per head its average over n.

    Returns
    -------
    "split" and "rows": "model", "head", "n" (None without one), and by metric and target
    "rmse_valence", ..., "ccc_mean", over all frames of the split together, labels in [-1, 1]
    """
    rows: list[dict[str, Any]] = []
    split = ""
    for run in runs:
        split, found = scores(run, device)
        n = getattr(run.recipe.model, "n", None)
        rows.append({"model": run.folder.name, "head": run.recipe.head, "n": n, **found})
    table: list[dict[str, Any]] = []
    for head in dict.fromkeys(row["head"] for row in rows):
        own = [row for row in rows if row["head"] == head]
        table += own
        if own[0]["n"] is not None:
            numbers = [key for key, value in own[0].items() if isinstance(value, float)]
            average = {key: float(np.mean([row[key] for row in own])) for key in numbers}
            table.append({"model": f"{head}-avg", "head": head, "n": None, **average})
    return {"split": split, "rows": table}


def scores(run: Run, device: torch.device) -> tuple[str, dict[str, float]]:
    """RMSE, COR, ICC and CCC of valence, arousal and their mean, and the split they are of."""
    cache = Cache(run.config["cache"]["path"])
    split, sequences = labelled_split(run, cache, None)
    predicted = means(run, sequences, device)
    truths, guesses = scoring.labelled(run.sizes, "va", sequences, predicted)
    truth, said = np.concatenate(truths), np.concatenate(guesses)
    names = run.sizes.targets["va"]
    found: dict[str, float] = {}
    for key, metric in METRICS.items():
        each = [float(metric(truth[:, d], said[:, d])) for d in range(len(names))]
        found |= {f"{key}_{name}": value for name, value in zip(names, each, strict=True)}
        found[f"{key}_mean"] = float(np.mean(each))
    return split, found


def _has_n(head: str) -> bool:
    return "n" in _settings(head)


def _concerns(change: str, head: str, last: str) -> bool:
    """Whether a change is for this head, too, or only for the one that the user asked for."""
    table, _, key = change.partition("=")[0].strip().partition(".")
    return table != "model" or key in _settings(head) or key not in _settings(last)


def _settings(head: str) -> set[str]:
    return {field.name for field in dataclasses.fields(head_class(head).Settings)}
