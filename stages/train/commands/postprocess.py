"""`affcache postprocess`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import SPLIT, device_option


@click.command(short_help="Filter, centre, scale and shift predictions where it helps.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Another cache of the same fingerprint. Default: the one that it was trained on.",
)
@click.option(
    "--split", type=SPLIT, help="Scored with the frozen chain. Default: test, if labelled."
)
@click.option(
    "--utterances",
    "sequence_length",
    type=click.IntRange(1),
    metavar="FRAMES",
    help="Videos are utterances with one label each: the mean of the medians of sequences of that "
    "many frames (OMG-Emotion: 80).",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write every video's result here.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print steps and scores as JSON.")
def postprocess(
    run: Path,
    cache: Path | None,
    split: str | None,
    sequence_length: int | None,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Fit post-processing of a trained RUN on its validation split, freeze it, and score it.

    Five steps in this order: median filter, moving average, centring, scaling, shift in time. Each
    is kept, for valence and arousal apart, only if it improves CCC on the validation split. The
    chain is stored as RUN/postprocess.json, where `affcache evaluate` finds it and adds a row of
    its own; predictions of `affcache predict` stay as the head says them, --out writes processed
    ones.

    \b
      affcache postprocess runs/sewa-affwildnet-s0
      affcache postprocess runs/sewa-affwildnet-s0 --cache out/new.zarr --out processed
      affcache postprocess runs/omg-cnn-3rnn-omg-s0 --utterances 80 --json
    """
    from stages.train.sessions.postprocess import postprocess_command

    postprocess_command(run, cache, split, sequence_length, out, device, as_json)
