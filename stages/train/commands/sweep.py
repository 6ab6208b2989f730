"""`affcache sweep`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import SPLIT, device_option


@click.command(short_help="Score a run for every amount and choice of context.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Another cache of the same fingerprint. Default: the one that it was trained on.",
)
@click.option("--split", type=SPLIT, help="Default: validation where it has labels, else test.")
@click.option(
    "--counts",
    help="Numbers of context frames, such as 1,5,10,40. Default: 1, 2, 3, 5, 7, 10, 15, ... up to "
    "a test window.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole document as JSON.")
def sweep(
    run: Path, cache: Path | None, split: str | None, counts: str | None, device: str, as_json: bool
) -> None:
    """Score a trained Affective Process RUN for every amount and choice of context.

    Frames are chosen by the lowest or the largest uncertainty of their own latent, or at random.
    The curves (Figure 3 of the paper) go into RUN/sweep-<split>.png, the numbers into .csv and
    .json; the best point is printed. Use it with `affcache evaluate RUN --context lowest:40`: what
    is best on the validation split is worth confirming on the test split.

    \b
      affcache sweep runs/demo-ap-s0
      affcache sweep runs/demo-ap-s0 --split test --counts 1,5,10,20,40,70
    """
    from stages.train.sessions.sweep import sweep_command

    sweep_command(run, cache, split, counts, device, as_json)
