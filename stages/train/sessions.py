"""What stands behind the three commands: files and options in, a run, a table or pictures out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import affcache
from affcache.arrays import write_json
from affcache.errors import CacheError, RunError
from affcache.metrics import METRICS
from affcache.progress import say
from affcache.schema import DIMENSIONS
from affcache.store import Cache
from affcache.table import show
from affcache.windows import Sequence as FrameSequence
from affcache.windows import load_split
from stages.train import data, evaluation, prediction, trainer
from stages.train.device import choose, described
from stages.train.heads import head_class
from stages.train.recipe import Recipe, load
from stages.train.run import Run, held, open_run, start_or_resume
from stages.train.scoring import headline_name


def train_command(
    cache_path: Path,
    head: str | None,
    recipe_name: str | None,
    changes: Sequence[str],
    seed: int,
    device_name: str,
    pseudo: str | None,
    workers: int,
    out: Path | None,
) -> Path:
    """Train, or go on with, a run; returns its folder."""
    recipe = load(head, recipe_name, changes)
    cache, kind = Cache(cache_path), head_class(recipe.head)
    device = choose(device_name)
    streams = data.streams_of(cache, kind)
    name = pseudo or data.pseudo_name(cache, recipe, streams)
    training = load_split(cache.path, recipe.task, name, "train", streams)
    validation = data.split_if_labelled(cache, recipe.task, name, "validation", streams)
    if name is not None:
        data.check_pseudo([*training, *validation], f"{cache.path}: pseudo-labels {name!r}")
    folder = out or default_folder(cache.path, recipe_name or recipe.head, seed)
    attributes = data.pseudo_attributes(cache, name)
    config = configuration(recipe, seed, cache, name, training, validation)
    run = start_or_resume(folder, config, attributes)
    with held(run):
        _announce(run, training, validation, described(device))
        standing = trainer.train(run, training, validation, device, workers)
    if standing.best_score is None:
        say(f"done: {run.folder} keeps its last epoch")
    else:
        say(
            f"done: best validation {headline_name(run.sizes)} {standing.best_score:.3f} in "
            f"epoch {standing.best_epoch}; "
            f"next: affcache evaluate {run.folder}"
        )
    return run.folder


def evaluate_command(
    folder: Path, cache_path: Path | None, split: str | None, device_name: str, as_json: bool
) -> None:
    """Evaluate a run, write the result into its folder and print it."""
    run = open_run(folder)
    cache = Cache(cache_path or run.config["cache"]["path"])
    document = evaluation.evaluate(run, cache, split, choose(device_name))
    elsewhere = "" if cache_path is None else f"-{cache.path.stem}"
    write_json(folder / f"evaluation-{document['split']}{elsewhere}.json", document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print_evaluation(document)


def predict_command(
    folder: Path, target: Path, out: Path | None, device_name: str, as_json: bool
) -> None:
    """Predict on a video or a cache and print a row per video."""
    if not target.exists():
        raise RunError(f"{target}: does not exist; expected a video file or a cache")
    rows = prediction.predict(open_run(folder), target, out, choose(device_name))
    if as_json:
        show("predictions", rows, as_json=True)
        return
    narrow = [{k: v for k, v in row.items() if k not in prediction.FILES} for row in rows]
    show("predictions", narrow)
    click.echo(f"a CSV and a PNG each in {Path(rows[0]['csv']).parent}")


def default_folder(cache: Path, recipe: str, seed: int) -> Path:
    """runs/<cache>-<recipe>-s<seed>, below the present folder."""
    return Path("runs") / f"{cache.resolve().stem}-{Path(recipe).stem}-s{seed}"


def configuration(
    recipe: Recipe,
    seed: int,
    cache: Cache,
    pseudo: str | None,
    training: Sequence[FrameSequence],
    validation: Sequence[FrameSequence],
) -> dict[str, Any]:
    """What config.json says: all that the run's result depends on, and where it came from."""
    if not any(s.counted.any() for s in training):
        raise CacheError(
            f"{cache.path}: no training video with {recipe.task} labels (see `affcache label`)"
        )
    labels = np.concatenate([s.labels[s.counted] for s in training]).astype(np.float64)
    known = np.isfinite(labels)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, labels, 0).sum(axis=0) / count
    spread = np.where(known, labels - mean, 0)
    sizes = data.sizes_of(training, cache, recipe.task, head_class(recipe.head))
    return {
        "affcache": affcache.__version__,
        "recipe": recipe.as_dict(),
        "seed": seed,
        "cache": {
            "path": str(cache.path.resolve()),
            "dataset": cache.header.get("dataset"),
            "fingerprint": cache.fingerprint,
            "fields": cache.header.get("fields", {}),
        },
        "pseudo": pseudo,
        "sizes": {
            "streams": sizes.streams,
            "targets": {task: list(names) for task, names in sizes.targets.items()},
            "fps": sizes.fps,
        },
        "data": data.digest([*training, *validation]),
        "training_labels": {
            "mean": mean.tolist(),
            "std": np.sqrt((spread**2).sum(axis=0) / count).tolist(),
        },
    }


def _announce(
    run: Run,
    training: Sequence[FrameSequence],
    validation: Sequence[FrameSequence],
    device: str,
) -> None:
    recipe = run.recipe
    parameters = sum(p.numel() for p in run.new_head().parameters())
    frames = sum(int(s.counted.sum()) for s in training)
    say(
        f"{recipe.head}: {parameters:,} parameters on {device}, {len(training)} training videos "
        f"({frames:,} labelled frames), {len(validation)} for validation, "
        f"pseudo-labels {run.config['pseudo']!r}, into {run.folder}"
    )
    if not validation:
        say("no labelled validation split: no score along the way, and the last epoch is kept")
    if run.last.exists():
        say(f"going on after epoch {len(run.metrics())} of {recipe.training.epochs}")


def _print_evaluation(document: dict[str, Any]) -> None:
    """One narrow table per metric, the frames behind them, and the differences over people."""
    for task, names in document["targets"].items():
        rows = [row for row in document["scores"] if row["task"] == task]
        for metric in METRICS[task] if rows else ():
            title = f"{metric.upper()} of {task} on {document['split']}"
            show(title, _pivot(rows, metric, names))
    click.echo(
        "V valence, A arousal: all frames together; seq: averaged over sequences.\n"
        "matched: level and spread of the training labels, the same rule for everyone.\n"
        f"trailing mean: of the pseudo-labels over {document['trailing_seconds']:g} s.\n"
    )
    show(f"frames of {document['split']}", document["coverage"])
    if document["report"]:
        show("what the head has learnt", [document["report"]])
    if document["paired"]:
        score = ", ".join(METRICS[task][0].upper() for task in document["targets"])
        show(f"difference in mean {score} over people, matched, 95 % interval", document["paired"])
    else:
        click.echo("fewer than two people: no interval over people")


def _pivot(
    scores: Sequence[dict[str, Any]], metric: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows per predictor, columns per target and mean; pooled and, where few, per sequence."""
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        row = rows.setdefault(score["predictor"], {"": score["predictor"]})
        prefix = "" if score["over"] == "frames" else "seq "
        for name in (*names, "mean") if not prefix or len(names) == 2 else ("mean",):
            short = name[0].upper() if name in DIMENSIONS else name
            if f"{metric}_{name}" in score:
                row[prefix + short] = score[f"{metric}_{name}"]
    # a correlation is the same whatever the spread, so it is shown once
    return [row for name, row in rows.items() if metric != "pcc" or not name.endswith("matched")]
