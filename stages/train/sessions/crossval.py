"""What stands behind `affcache crossval`: options in, tables out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from affcache.table import show
from stages.train.experiments.crossval import crossval
from stages.train.experiments.tracks import COLUMNS
from stages.train.jobs import Job, default_folder
from stages.train.recipe import load


def crossval_command(
    *,
    cache: Path,
    head: str | None,
    recipe: str | None,
    changes: Sequence[str],
    folds: int,
    with_original: bool,
    seed: int,
    device: str,
    pseudo: str | None,
    fill: Sequence[str],
    workers: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Cross-validate and print the two tables, or everything as JSON."""
    job = Job(
        cache=cache,
        recipe=load(head, recipe, changes),
        seed=seed,
        pseudo=pseudo,
        fill=tuple(fill),
        device=device,
        workers=workers,
    )
    plain = default_folder(cache, recipe or job.recipe.head, seed)
    folder = out or plain.with_name(f"{plain.name}-crossval")
    document = crossval(job, folds, with_original, folder)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print(document, folder)


def _print(document: dict[str, Any], folder: Path) -> None:
    """A table per track, which fits a terminal: own people, and beside them what was voted on."""
    own = {row["validation set"]: row for row in document["folds"]}
    voted = {row["model"]: row for row in document["votes"]}
    for track, columns in COLUMNS.items():
        if all(columns[0] in row for row in own.values()):
            short = {name: name.split()[-1] for name in columns}
            rows = [
                {"model": model.removeprefix("vote: ")}
                | {short[name]: own.get(model, {}).get(name) for name in columns}
                | {f"voted {short[name]}": voted.get(model, {}).get(name) for name in columns}
                for model in {**own, **voted}
            ]
            show(f"{document['head']}: {track}", rows)
    fewest, most = document["voters"]
    voters = f"{most}" if fewest == most else f"{fewest} to {most}"
    click.echo("on the left: each model on the people that it left out")
    if voted:
        click.echo(
            f"voted: the {document['voted_on']} split, {voters} votes a video (mean, majority); a "
            "model stands there by itself if it never saw any of those people"
        )
    else:
        click.echo("no labelled split that is left to vote on")
    click.echo(f"a run folder each in {folder}")
