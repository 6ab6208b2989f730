"""`affcache compound`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import device_option, seed_option


@click.command(short_help="Recognise expressions that mix two, without examples or from a few.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Another cache of the same fingerprint. Default: the one that it was trained on.",
)
@click.option(
    "--categories",
    default="rafdb",
    show_default=True,
    help="rafdb (11), emotionet (6 basic, 10 compound), or a TOML file of your own.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV of the columns video, frame, category to score against.",
)
@click.option(
    "--shots",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV of the same columns: examples to fine-tune on, of other videos than --labels.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Of fine-tuning, each over all of --shots.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of fine-tuning (Adam).",
)
@seed_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the CSVs. Default: RUN/compound/NAME."
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print shares and scores as JSON.")
def compound(
    run: Path,
    cache: Path | None,
    categories: str,
    labels: Path | None,
    shots: Path | None,
    iterations: int,
    learning_rate: float,
    seed: int,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Name the compound expression of every frame from what a multi-task RUN predicts.

    Zero-shot, by rules alone (Kollias and Zafeiriou, eq. 10): the share of a category's action
    units that is predicted, plus the probabilities of the two expressions that it mixes, plus 1
    where it can be pleasant and valence is positive. RUN must predict va+expr+au.

    With --shots, few-shot beside it: the network of RUN (mt, mt-gru, facebehaviornet) gets a fresh
    output layer over the categories, and all its weights are fine-tuned on those frames. RUN stays
    as it is, and what was fine-tuned is not kept; its CSVs go into the folder few-shot beside the
    others. --seed decides the fresh layer and dropout.

    \b
      affcache compound runs/abaw-facebehaviornet-s0
      affcache compound runs/abaw-facebehaviornet-s0 --cache out/rafdb.zarr --labels rafdb.csv
      affcache compound runs/abaw-facebehaviornet-s0 --cache out/rafdb.zarr \\
          --shots rafdb-train.csv --labels rafdb-test.csv
      affcache compound runs/abaw-mt-gru-s0 --categories emotionet --json
    """
    from stages.train.sessions.compound import compound_command

    compound_command(
        run,
        cache,
        categories,
        labels,
        out,
        device,
        as_json,
        shots=shots,
        iterations=iterations,
        learning_rate=learning_rate,
        seed=seed,
    )
