"""What stands behind `affcache train --curriculum`: a job and lengths in, runs and a table out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from affcache.arrays import write_json
from affcache.table import show
from stages.train.device import choose
from stages.train.experiments.curriculum import curriculum, tabulate
from stages.train.jobs import Job, default_folder


def curriculum_command(
    job: Job, lengths: Sequence[int], changes: Sequence[str], out: Path | None, as_json: bool
) -> None:
    """Train a curriculum, write its table beside its runs and print it."""
    folder = out or default_folder(job.cache, f"{job.recipe.head}-curriculum", job.seed)
    document = tabulate(curriculum(job, lengths, changes, folder), choose(job.device))
    write_json(folder / "curriculum.json", document)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for pair in (("rmse", "cor"), ("icc", "ccc")):
        title = f"{' and '.join(metric.upper() for metric in pair)} on {document['split']}"
        show(title, [_narrow(row, pair) for row in document["rows"]])
    click.echo(
        "V valence, A arousal, avg their mean; all frames together, labels in [-1, 1].\n"
        f"a run folder for each row in {folder}, the table in {folder / 'curriculum.json'}"
    )


def _narrow(row: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    short = {"valence": "V", "arousal": "A", "mean": "avg"}
    return {"": row["model"]} | {
        f"{metric.upper()} {letter}": row[f"{metric}_{name}"]
        for metric in metrics
        for name, letter in short.items()
    }
