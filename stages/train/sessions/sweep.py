"""What stands behind `affcache sweep`: a run and options in, a table and three files out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from affcache.errors import RunError
from affcache.store import Cache
from affcache.table import show
from stages.train.device import choose
from stages.train.run import open_run
from stages.train.sweep import sweep


def sweep_command(
    folder: Path,
    cache_path: Path | None,
    split: str | None,
    counts: str | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Sweep a run's context, and print the curve and its best point."""
    run = open_run(folder)
    cache = Cache(cache_path or run.config["cache"]["path"])
    document = sweep(run, cache, split, numbers(counts), choose(device_name))
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    rows: dict[int, dict[str, object]] = {}
    for point in document["points"]:
        row = rows.setdefault(point["context"], {"context frames": point["context"]})
        row[point["selection"]] = point["score"]
    show(f"mean {document['metric']} on {document['split']}, raw", list(rows.values()))
    best = document["best"]
    click.echo(
        f"best: {best['selection']}:{best['context']} with {best['score']:.3f}; "
        f"figure and numbers in {folder}/sweep-{document['split']}.png, .csv, .json"
    )


def numbers(counts: str | None) -> list[int]:
    """The numbers in "1,5,10"; none for None.

    Raises
    ------
    RunError
        If one is not a whole number from 1 on.
    """
    words = [] if counts is None else [word.strip() for word in counts.split(",")]
    bad = [word for word in words if not word.isdecimal() or int(word) < 1]
    if bad or (counts is not None and not words):
        raise RunError(
            f"--counts {counts}: {bad[0]!r} is no number of frames, such as in 1,5,10,40"
        )
    return sorted({int(word) for word in words})
