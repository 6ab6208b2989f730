"""`affcache simulate`: data with known truth, to check everything that comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affcache.table import show


@click.group()
def simulate() -> None:
    """Make simulated data whose truth is known.

    Whatever is made here is simulated and says so: it checks the tools, it is no evidence about
    real affect. `videos` films warped portraits for the whole way from video to prediction;
    `cache` draws features without any video, with the best possible scores beside them.

    \b
    Examples:
      affcache simulate videos out/demo
      affcache simulate cache out/sim.zarr
    """


@simulate.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--people", type=click.IntRange(min=1), default=13, show_default=True, help="At most 13."
)
@click.option(
    "--clips", type=click.IntRange(min=1), default=8, show_default=True, help="Of each person."
)
@click.option(
    "--frames", type=click.IntRange(min=1), default=150, show_default=True, help="Of each clip."
)
@click.option("--size", type=int, default=192, show_default=True, help="Width and height, pixels.")
@click.option(
    "--fps", type=click.FloatRange(min=1, max=240), default=25.0, show_default=True, help="Rate."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes at once  [default: one per core]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the closing table as JSON.")
def videos(
    out: Path,
    people: int,
    clips: int,
    frames: int,
    size: int,
    fps: float,
    seed: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """SIMULATED face videos with valence and arousal for every frame, in the folder OUT.

    Photographs and video frames of a dozen people (fetched once, see `affcache assets list`) are
    warped so that the face follows slow random valence and arousal, with jitter, talk, blinks,
    head motion, changing light, noise and moments without a face. The labels follow the face
    0.4 s later, as an annotator does. A video that is there already is kept, so an interrupted
    run may simply be started again.

    \b
    Examples:
      affcache simulate videos out/demo
      affcache simulate videos /tmp/few --people 4 --clips 1 --frames 50 --seed 7
      affcache extract --manifest demo --root out/demo --out out/demo.zarr
    """
    from stages.simulate.record import Settings
    from stages.simulate.videos import default_workers, simulate_videos

    settings = Settings(people=people, clips=clips, frames=frames, size=size, fps=fps, seed=seed)
    rows = simulate_videos(out, settings, workers or default_workers())
    show(f"simulated videos in {out}", rows, as_json=as_json)


def _ratio(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    return None if text is None else tuple(_number(part, text) for part in text.split(","))


def _words(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _shares(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Any:
    pairs = [text.partition("=") for text in texts]
    return {name: _number(value, f"{name}={value}") for name, _, value in pairs} or None


def _widths(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Any:
    shares = _shares(context, parameter, texts)
    return shares and {name: int(value) for name, value in shares.items()}


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{where!r}: {text!r} is no number") from None


@simulate.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--recipe",
    default="context",
    show_default=True,
    help="context, lag30, lag50, lag70, neither, or a .toml file; options below change it.",
)
@click.option("--videos", type=int, help="How many.  [600]")
@click.option("--frames", type=int, help="Of each video.  [600]")
@click.option("--seed", type=int, help="Of everything that is drawn.  [0]")
@click.option("--fps", type=float, help="Frames per second: the time axis only.  [25]")
@click.option("--lag", type=int, help="Frames by which labels trail; negative if they lead.")
@click.option("--lag-jitter", type=int, help="Each video's lag differs by up to this many frames.")
@click.option("--missing", type=float, help="Share of frames without a face, in runs.  [0]")
@click.option("--changes", type=int, help="Abrupt changes in each video, at known frames.  [0]")
@click.option("--subjects", type=int, help="Persons; by default each video shows its own.")
@click.option("--splits", callback=_ratio, help="Train : validation : test persons.  [4,1,1]")
@click.option("--folds", type=int, help="Deal the persons to this many folds, too.")
@click.option("--tasks", callback=_words, help="Of va,expr,au,au_intensity.  [va]")
@click.option(
    "--drop",
    multiple=True,
    callback=_shares,
    metavar="TASK=SHARE",
    help="Leave out a task's labels in this share of the training videos; may be repeated.",
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    callback=_widths,
    metavar="NAME=WIDTH",
    help="A further stream of each frame, such as low=64; may be repeated.",
)
@click.option("--workers", type=click.IntRange(min=1), default=4, help="Threads; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing table as JSON.")
def cache(out: Path, recipe: str, workers: int, as_json: bool, **changes: Any) -> None:
    """A SIMULATED cache OUT, and what the best possible estimators achieve on it.

    No video is made: valence and arousal are smooth random processes, the features show them
    through an offset of the sequence and noise of changing strength, and the labels may trail.
    The model is known, so the best estimators are, too: from one frame, from a window of 70, from
    the past alone (a Kalman filter), from the whole sequence (a smoother). Their scores on the test
    split are printed and lie, with each video's truth, in OUT.truth.json: no head does better but
    by luck, and one that does much worse has not learnt what there is. "matched" forgives spread
    (the best squared error is not the best CCC); "in 80 %" is the share of labels inside 80 %
    intervals.

    Expressions and action units, if asked for, follow from valence and arousal by a known map.
    The same options make the same bytes. A video that is there already is kept, so an interrupted
    run may simply be started again.

    \b
    Examples:
      affcache simulate cache out/sim.zarr
      affcache simulate cache out/late.zarr --recipe lag50 --seed 1
      affcache simulate cache out/early.zarr --lag -20 --lag-jitter 3 --missing 0.1
      affcache simulate cache out/tasks.zarr --tasks va,expr,au --drop expr=0.5 --drop au=0.5
      affcache simulate cache out/levels.zarr --stream low=64 --stream mid=64 --stream high=64
      affcache simulate cache /tmp/few.zarr --videos 12 --frames 100 --changes 2 --json
      affcache train --cache out/sim.zarr --head ap
    """
    from stages.simulate.cache import simulate_cache
    from stages.simulate.ceilings import show_ceilings
    from stages.simulate.recipe import settings_of

    document = simulate_cache(out, settings_of(recipe, changes), workers)
    show_ceilings(str(out), document["ceilings"], as_json=as_json)
