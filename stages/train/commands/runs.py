"""`affcache train`, `evaluate` and `predict`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stages.train.commands.options import (
    SPLIT,
    changes_option,
    context_option,
    device_option,
    fill_option,
    pseudo_option,
    seed_option,
    workers_option,
)


@click.command(short_help="Train a temporal head from a cache.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="The feature cache; repeated, a run learns from all of them (windows.mix says in which "
    "shares). They must have been extracted alike.",
)
@click.option("--head", help="Which head, such as ap, or several: ap,bigru,mlp.  [default: ap]")
@click.option(
    "--recipe",
    help="A TOML file, or one of ours by name; or several: ap,ap-kl. Default: the head's own.",
)
@changes_option
@seed_option
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Train with that many seeds from --seed on, and print mean and spread.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Leave out each of that many groups of people once, and score on those left out.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of several runs, train that many at once in processes of this machine.",
)
@click.option("--scheduler", help="Of several runs, train on a dask cluster: tcp://host:8786.")
@device_option
@pseudo_option
@fill_option
@workers_option
@click.option(
    "--data",
    type=click.Choice(["auto", "map", "device"]),
    default="auto",
    show_default=True,
    help="Windows from the cache's files (map), or all training data on the device; auto: on a GPU "
    "where it fills at most half of the free memory. Results are the same.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run folder, or that of several. Default: runs/<cache>-<recipe>-s<seed>.",
)
@click.option(
    "--start-from",
    "start",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take the initial weights from a trained run of this head, or of one that it extends.",
)
@click.option(
    "--curriculum",
    metavar="N,N,...",
    help="anclaf-s, anclaf-sa: train every n, each from the one before, and print a table.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table of several runs as JSON.")
def train(cache: tuple[Path, ...], folds: int | None, **order: Any) -> None:
    """Train a temporal head from a cache, and print the run's folder.

    The recipe says how; each published configuration is one (ap, ap-kl, ap-reg, ap-reg-kl), and
    ap-demo is a short schedule for small data. Ctrl-C is safe: the same command goes on where it
    stopped, to the same result.

    \b
      affcache train --cache out/demo.zarr --head ap
      affcache train --cache out/demo.zarr --recipe ap-demo --seed 1
      affcache train --cache out/demo.zarr --recipe ap --set training.epochs=5 \\
          --set model.loss=nll+kl --set model.likelihood=sum
      affcache train --cache out/recola.zarr --head lstm-kf --seeds 10 --parallel 2
      affcache train --cache out/disfa.zarr --recipe ap-au-disfa,bigru-au --folds 3
      affcache train --cache out/mine.zarr --head ap --start-from runs/demo-ap-s0
      affcache train --cache out/sewa.zarr --head anclaf-sa --curriculum 2,4,8,16,32
      affcache train --cache out/va.zarr --cache out/au.zarr --cache out/expr.zarr \\
          --recipe facebehaviornet

    Several heads or recipes, seeds or folds make one experiment: a run folder each below --out,
    scored on people that none of them learnt from, and a table of mean and standard deviation.
    """
    from stages.train.sessions.runs import train_command

    train_command(cache=cache[0], also=cache[1:], folds=folds or 0, **order)


@click.command(short_help="Score a trained run beside its pseudo-labels.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Another cache of the same fingerprint. Default: the one that it was trained on.",
)
@click.option("--split", type=SPLIT, help="Default: test where it has labels, else validation.")
@context_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole evaluation as JSON.")
def evaluate(
    run: Path,
    cache: Path | None,
    split: str | None,
    context: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Score a trained RUN: CCC, PCC and RMSE for valence, arousal and their mean.

    Beside the head stand its pseudo-labels and their trailing mean over half a second, each raw
    and with level and spread matched to the training labels, and the difference over people with
    its 95 % interval. Of a head that states its uncertainty: how often intervals of 50, 80 and
    95 % hold the truth, its likelihood (nll) and ranked probability score (crps). The evaluation is
    also written into the run's folder.

    \b
      affcache evaluate runs/demo-ap-s0
      affcache evaluate runs/demo-ap-s0 --split validation --json
      affcache evaluate runs/demo-ap-s0 --context lowest:40
    """
    from stages.train.sessions.runs import evaluate_command

    evaluate_command(run, cache, split, device, as_json, context)


@click.command(short_help="Predict per frame on a video or a cache.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("target", metavar="VIDEO_OR_CACHE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the results. Default: RUN/predictions/<name>.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many coherent functions f(., z) to draw from an Affective Process.",
)
@context_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def predict(
    run: Path,
    target: Path,
    out: Path | None,
    samples: int,
    context: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Predict every frame of VIDEO_OR_CACHE with a trained RUN.

    Writes for each video a CSV (frame, time, valid, valence, valence_std, arousal, arousal_std;
    empty where there is no face) and a PNG of both traces over time. A video file is first
    extracted with the backbone of the run's cache. Expressions and units are probabilities,
    intensities of units x / 2.5 - 1 of the scale from 0 to 5 that `affcache evaluate` scores.

    Of an Affective Process the CSV also tells how much of each deviation is the decoder's
    (valence_decoder_std) and how much the latent's (valence_latent_std), and an .npz beside it
    holds the context frames and, with --samples, the functions drawn, (frame, sample, target).

    \b
      affcache predict runs/demo-ap-s0 holiday.mp4
      affcache predict runs/demo-ap-s0 holiday.mp4 --samples 10 --context lowest:10
      affcache predict runs/demo-ap-s0 out/clips.zarr --out predictions
    """
    from stages.train.sessions.runs import predict_command

    predict_command(run, target, out, device, as_json, context, samples)
