"""`affcache readout`: pseudo-labels for a cache whose backbone has none."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="The cache.")
@click.option(
    "--task",
    default="va",
    show_default=True,
    help="What to predict: va, au (occurrence as a number) or au_intensity.",
)
@click.option("--name", default="readout", show_default=True, help="Stored as pseudo/<name>/.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def readout(cache: Path, task: str, name: str, as_json: bool) -> None:
    """Fit a ridge regression from features to labels and store what it says of every frame.

    Heads such as `ap` start from per-frame pseudo-labels. Where the backbone gives none for the
    task, or poor ones, this makes them from the labelled training split.

    Only training videos are fitted; the strength is chosen by cross-validation over subjects.
    Training videos get predictions of models that never saw their subject, all others those of the
    full model. The table is the concordance (CCC) of both with the labels.

    \b
    Example:
      affcache readout --cache out/sewa.zarr --task va
      affcache train --head ap --cache out/sewa.zarr --pseudo readout
    """
    from affcache.readout import run

    run(cache, task, name, as_json=as_json)
