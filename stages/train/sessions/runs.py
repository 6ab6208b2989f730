"""What stands behind the three commands: files and options in, a run, a table or pictures out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from affcache.arrays import write_json
from affcache.errors import RecipeError, RunError
from affcache.metrics import METRICS
from affcache.schema import DIMENSIONS
from affcache.store import Cache
from affcache.table import show
from stages.train import evaluation, prediction
from stages.train.device import choose
from stages.train.experiments import trials
from stages.train.experiments.curriculum import lengths_of
from stages.train.jobs import Job, default_folder, material, run_job
from stages.train.recipe import load
from stages.train.run import open_run
from stages.train.sessions.curriculum import curriculum_command


def train_command(
    cache: Path,
    head: str | None,
    recipe: str | None,
    changes: Sequence[str],
    out: Path | None,
    seeds: int,
    folds: int,
    parallel: int,
    scheduler: str | None,
    curriculum: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Train one run and print its folder, or several and print their table.

    `how` is the rest of a `Job`.
    """
    names = (recipe or head or "ap").split(",")
    stems = [Path(name).stem for name in names]
    if len({*stems}) < len(stems):
        raise RecipeError(
            f"{', '.join(names)}: two recipes of one name would share a run folder; rename one"
        )
    jobs = {
        Path(name).stem: Job(cache=cache, recipe=load(only, named, changes), **how)
        for name in names
        for only, named in [(head, name) if recipe else (name, None)]
    }
    if curriculum is not None:
        if len(jobs) > 1 or seeds > 1 or folds or recipe or how.get("start"):
            raise RecipeError(
                "--curriculum trains one head by its own recipes, one seed at a time: leave out "
                "--recipe, --start-from, --seeds and --folds"
            )
        (job,) = jobs.values()
        curriculum_command(job, lengths_of(curriculum), changes, out, as_json)
        return
    if len(jobs) == 1 and seeds == 1 and not folds:
        (job,) = jobs.values()
        folder = out or default_folder(cache, names[0], job.seed)
        click.echo(run_job(job, material(job), folder).folder)
        return
    folder = out or Path("runs") / f"{cache.resolve().stem}-{'+'.join(jobs)}"
    outcomes = trials.carry_out(trials.plan(jobs, seeds, folds, folder), parallel, scheduler)
    rows = trials.summary(outcomes)
    write_json(folder / "trials.json", {"trials": trials.documents(outcomes), "summary": rows})
    counted = f"{seeds} seeds" + (f" x {folds} folds by person" if folds else "")
    if as_json:
        show(counted, rows, as_json=True)
    else:
        for title, table in trials.printable(rows).items():
            show(f"{title}, {counted}", table)
        click.echo(f"mean ± standard deviation over n runs; all of it in {folder / 'trials.json'}")
    troubled = [o.trial.folder.name for o in outcomes if o.trouble is not None]
    if troubled:
        raise RunError(f"{len(troubled)} of {len(outcomes)} trials failed: {', '.join(troubled)}")


def evaluate_command(
    folder: Path,
    cache_path: Path | None,
    split: str | None,
    device_name: str,
    as_json: bool,
    context: str | None = None,
) -> None:
    """Evaluate a run, write the result into its folder and print it."""
    run = open_run(folder)
    cache = Cache(cache_path or run.config["cache"]["path"])
    document = evaluation.evaluate(run, cache, split, choose(device_name), context=context)
    elsewhere = "" if cache_path is None else f"-{cache.path.stem}"
    elsewhere += "" if context is None else f"-{context.replace(':', '-')}"
    write_json(folder / f"evaluation-{document['split']}{elsewhere}.json", document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print_evaluation(document)


def predict_command(
    folder: Path,
    target: Path,
    out: Path | None,
    device_name: str,
    as_json: bool,
    context: str | None = None,
    samples: int = 0,
) -> None:
    """Predict on a video or a cache and print a row per video."""
    if not target.exists():
        raise RunError(f"{target}: does not exist; expected a video file or a cache")
    run, device = open_run(folder), choose(device_name)
    rows = prediction.predict(run, target, out, device, context, samples)
    if as_json:
        show("predictions", rows, as_json=True)
        return
    narrow = [{k: v for k, v in row.items() if k not in prediction.FILES} for row in rows]
    show("predictions", narrow)
    click.echo(f"a CSV and a PNG each in {Path(rows[0]['csv']).parent}")


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
    if document["calibration"]:
        show("stated uncertainty, raw: coverage of 50, 80, 95 % intervals", _calibration(document))
        click.echo("nll in nats; crps in the unit of the labels; std: the mean that is stated.\n")
    show(f"frames of {document['split']}", document["coverage"])
    if document["report"]:
        learnt = [{"what": name, "value": value} for name, value in document["report"].items()]
        show("what the head has learnt", learnt)
    if document["lags"]:
        show("by how much the output trails its labels", document["lags"])
    if document["paired"]:
        score = ", ".join(METRICS[task][0].upper() for task in document["targets"])
        show(f"difference in mean {score} over people, matched, 95 % interval", document["paired"])
    elif len({row["predictor"].removesuffix(evaluation.MATCHED) for row in document["scores"]}) > 1:
        click.echo("fewer than two people with frames to score: no interval over people")
    else:
        click.echo("no pseudo-labels to compare with: no difference over people")


def _calibration(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows per target with narrow headings."""
    return [
        {
            name.removeprefix("coverage_"): value
            for name, value in row.items()
            if name != "task" or len(document["targets"]) > 1
        }
        for row in document["calibration"]
    ]


def _pivot(
    scores: Sequence[dict[str, Any]], metric: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows per predictor, columns per target and mean; pooled and, where few, per sequence.

    More than two targets are rows instead, and predictors columns: twelve units fit no terminal.
    """
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        row = rows.setdefault(score["predictor"], {"": score["predictor"]})
        prefix = "" if score["over"] == "frames" else "seq "
        for name in (*names, "mean") if not prefix or len(names) == 2 else ("mean",):
            short = name[0].upper() if name in DIMENSIONS else name
            if f"{metric}_{name}" in score:
                row[prefix + short] = score[f"{metric}_{name}"]
    # a correlation is the same whatever the spread, so it is shown once
    shown = [row for name, row in rows.items() if metric != "pcc" or not name.endswith("matched")]
    if len(names) == 2 or not shown:
        return shown
    headings = [str(row[""]).replace("pseudo-labels", "pseudo labels") for row in shown]  # wrap
    return [
        {"": column, **{said: row.get(column) for said, row in zip(headings, shown, strict=True)}}
        for column in shown[0]
        if column
    ]
