"""What stands behind `affcache postprocess`: fit a chain on validation, freeze it, score it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from affcache.arrays import write_json
from affcache.errors import RunError
from affcache.metrics import METRICS, ccc, icc
from affcache.progress import say
from affcache.store import Cache
from affcache.table import show
from affcache.targets import CONTINUOUS
from affcache.windows import Sequence as FrameSequence
from stages.train import data, utterances
from stages.train.chains import FILE, apply_chain, fit
from stages.train.device import choose
from stages.train.evaluation import labelled_split, means
from stages.train.heads import Sizes
from stages.train.inference import Predicted
from stages.train.prediction import write_csv
from stages.train.run import Run, open_run

SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"ccc": ccc, "icc": icc}
Chain = Sequence[Mapping[str, Any]]
Said = list[np.ndarray]  # one (T, K) array a video


def postprocess_command(
    folder: Path,
    cache_path: Path | None,
    split: str | None,
    sequence_length: int | None,
    out: Path | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Fit a run's chain, write it into its folder, print it and what it does to another split."""
    run = open_run(folder)
    cache = Cache(cache_path or run.config["cache"]["path"])
    data.same_fingerprint(run.config["cache"], cache)
    sizes, device = run.sizes, choose(device_name)
    columns = numbers(run)
    _, validation = labelled_split(run, cache, "validation")
    said = means(run, validation, device)
    steps = [
        {**step, "target": name, "column": column}
        for task, name, column in columns
        for step in fit_target(task, column, validation, said, sizes.fps, sequence_length)
    ]
    document: dict[str, Any] = {"steps": steps, "fps": sizes.fps, "sequence": sequence_length}
    write_json(folder / FILE, document)
    scored, sequences = labelled_split(run, cache, split)
    found = said if scored == "validation" else means(run, sequences, device)
    rows = [
        result(task, name, column, sequences, found, steps, sequence_length)
        for task, name, column in columns
    ]
    document |= {
        "fitted on": "validation",
        "run": str(folder),
        "cache": str(cache.path),
        "split": scored,
        "scores": rows,
    }
    if out is not None:
        write_all(run, cache, steps, out, device)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    shown = [{k: v for k, v in step.items() if k not in ("about", "column")} for step in steps]
    if shown:
        show("steps that improved the validation split, frozen", shown)
    else:
        click.echo("no step improves the validation split: predictions stay as they are")
    of = "utterances" if sequence_length else "frames"
    show(f"{of} of the {scored} split", rows)
    if scored == "validation":
        click.echo("that is the split that the chain was fitted on: what it gains there flatters")
    click.echo(
        f"the chain is in {folder / FILE}" + (f", a CSV for each video in {out}" if out else "")
    )


def numbers(run: Run) -> list[tuple[str, str, int]]:
    """Task, name and column of everything that is a number rather than a class.

    Raises
    ------
    RunError
        If the run predicts classes alone.
    """
    found = [
        (task, name, run.sizes.columns(task).start + k)
        for task, names in run.sizes.targets.items()
        for k, name in enumerate(names)
        if task in CONTINUOUS
    ]
    if not found:
        raise RunError(
            f"{run.folder}: predicts {run.recipe.task}; post-processing is for numbers "
            f"({', '.join(CONTINUOUS)})"
        )
    return found


def fit_target(
    task: str,
    column: int,
    sequences: Sequence[FrameSequence],
    said: Said,
    fps: float,
    length: int | None,
) -> list[dict[str, Any]]:
    """Steps of one target: those of `chains.fit`, and smoothing over utterances."""
    truth = [np.where(s.valid, s.labels[:, column], np.nan) for s in sequences]
    rows = [own[:, column] for own in said]
    steps = fit(rows, truth, lambda tried: score(task, truth, tried, length), fps)
    if length is None:
        return steps
    after = [apply_chain([{**s, "column": 0} for s in steps], r[:, None])[:, 0] for r in rows]
    values = np.array([utterances.estimate(r, length) for r in after])
    labels = np.array([utterances.label(y) for y in truth])
    people = [s.subject for s in sequences]
    last = utterances.fit_smoothing(values, people, lambda v: agreement(task, labels, v))
    return steps if last is None else [*steps, last]


def score(
    task: str, truth: Sequence[np.ndarray], said: Sequence[np.ndarray], length: int | None
) -> float:
    """Agreement over all frames together, or over utterances."""
    if length is None:
        return agreement(task, np.concatenate([*truth]), np.concatenate([*said]))
    values = np.array([utterances.estimate(rows, length) for rows in said])
    return agreement(task, np.array([utterances.label(rows) for rows in truth]), values)


def agreement(task: str, truth: np.ndarray, said: np.ndarray) -> float:
    """CCC (intensities: ICC) where both are known; 0 where fewer than two are."""
    known = np.isfinite(truth) & np.isfinite(said)
    return SCORES[METRICS[task][0]](truth[known], said[known]) if known.sum() > 1 else 0.0


def result(
    task: str,
    name: str,
    column: int,
    sequences: Sequence[FrameSequence],
    said: Said,
    steps: Chain,
    length: int | None,
) -> dict[str, Any]:
    """A line of the table: one target raw and post-processed."""
    frames = [s for s in steps if s["column"] == column and s["step"] != "utterances"]
    truth = [np.where(s.valid, s.labels[:, column], np.nan) for s in sequences]
    raw = [rows[:, column] for rows in said]
    done = [apply_chain(frames, rows)[:, column] for rows in said]
    before, after = score(task, truth, raw, length), score(task, truth, done, length)
    for step in steps:
        if length is not None and step["column"] == column and step["step"] == "utterances":
            values = np.array([utterances.estimate(rows, length) for rows in done])
            values = utterances.smoothed(values, [s.subject for s in sequences], step["value"])
            after = agreement(task, np.array([utterances.label(y) for y in truth]), values)
    metric = METRICS[task][0].upper()
    return {"": name, f"{metric} raw": before, f"{metric} post-processed": after}


def write_all(run: Run, cache: Cache, steps: Chain, out: Path, device: torch.device) -> None:
    """A CSV per video of a cache, after the chain."""
    sizes: Sizes = run.sizes
    out.mkdir(parents=True, exist_ok=True)
    frames = [step for step in steps if step["step"] != "utterances"]
    sequences = data.for_run(cache, sizes, run.config["pseudo"], run.pseudo_attributes())
    for sequence, rows in zip(sequences, means(run, sequences, device), strict=True):
        done = apply_chain(frames, rows).astype(np.float32)
        write_csv(out / f"{sequence.id}.csv", sizes, sequence, Predicted(done, None, {}))
    say(f"{len(sequences)} videos written to {out}")
