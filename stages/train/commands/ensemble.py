"""`affcache ensemble`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import SPLIT, device_option


@click.command(short_help="Let several runs speak as one.")
@click.argument("runs", metavar="RUN...", nargs=-1, type=click.Path(path_type=Path), required=True)
@click.option(
    "--rule",
    type=click.Choice(["ccc", "mean", "median", "majority"]),
    default="ccc",
    show_default=True,
    help="ccc: weighted by each run's own validation scores; majority: decisions are counted.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Another cache of the same fingerprint. Default: the first run's.",
)
@click.option("--split", type=SPLIT, help="Default: test where it has labels, else validation.")
@click.option("--out", type=click.Path(path_type=Path), help="Write predictions and scores here.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print scores and weights as JSON.")
def ensemble(
    runs: tuple[Path, ...],
    rule: str,
    cache: Path | None,
    split: str | None,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Fuse what two or more RUNs of one task say, frame by frame, and score it beside each.

    The runs may be of different heads, recipes and seeds. Weighted by validation CCC this is
    decision-level fusion as in Kollias and Zafeiriou (eq. 3): the mean of all predictions of a
    target, each run weighing what it scored there on the validation split.

    \b
      affcache ensemble runs/demo-affwildnet-s0 runs/demo-affwildnet-s1
      affcache ensemble runs/sewa-cnn-1rnn-s0 runs/sewa-cnn-3rnn-s0 --rule median --out fused
      affcache ensemble runs/abaw-mt-gru-s* --rule majority --json
    """
    from stages.train.sessions.ensemble import ensemble_command

    ensemble_command(runs, rule, cache, split, out, device, as_json)
