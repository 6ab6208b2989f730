"""What stands behind `affcache crossval`: options in, tables out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from affcache.table import show
from stages.train.crossval import crossval
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
    show(f"{document['head']}: each model on the people that it left out", document["folds"])
    fewest, most = document["voters"]
    if document["votes"]:
        voters = f"{most}" if fewest == most else f"{fewest} to {most}"
        show(
            f"on the {document['voted_on']} split, {voters} votes a video: the models that never "
            "saw any of its people, and the votes",
            document["votes"],
        )
    else:
        click.echo("no labelled split that is left to vote on")
    click.echo(f"a run folder each in {folder}")
