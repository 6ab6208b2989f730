"""`affcache crossval`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import (
    changes_option,
    device_option,
    fill_option,
    pseudo_option,
    seed_option,
    workers_option,
)


@click.command(short_help="Train folds by person and let their models vote.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="The feature cache.")
@click.option("--head", help="Which head. Default: what the recipe says, else ap.")
@click.option("--recipe", help="A TOML file, or one of ours by name. Default: the head's own.")
@changes_option
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--with-original", is_flag=True, help="Also train on the original split.")
@seed_option
@device_option
@pseudo_option
@fill_option
@workers_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Parent of the run folders. Default: runs/<cache>-<recipe>-s<seed>-crossval.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def crossval(
    cache: Path,
    head: str | None,
    recipe: str | None,
    changes: tuple[str, ...],
    folds: int,
    with_original: bool,
    seed: int,
    device: str,
    pseudo: str | None,
    fill: tuple[str, ...],
    workers: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train one model per fold of the training and validation people, and let them vote.

    The first table scores each model on the people that it left out (paper 004, Table 1). The
    second scores the models and their votes on the test split; without one, on the original
    validation videos, each voted on only by models that never saw its person. A vote is the mean,
    or the majority of decisions where there are any. Each model is a run folder of its own, and the
    same command goes on where it stopped.

    \b
      affcache crossval --head streaming --cache out/affwild2.zarr --folds 5 --with-original
      affcache crossval --head ap --cache out/sewa.zarr --folds 3 --set training.epochs=5
    """
    from stages.train.sessions.crossval import crossval_command

    crossval_command(
        cache=cache,
        head=head,
        recipe=recipe,
        changes=changes,
        folds=folds,
        with_original=with_original,
        seed=seed,
        device=device,
        pseudo=pseudo,
        fill=fill,
        workers=workers,
        out=out,
        as_json=as_json,
    )
