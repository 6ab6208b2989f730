"""`affcache simulate`: data with known truth, to check everything that comes after it."""

from __future__ import annotations

from pathlib import Path

import click

from affcache.table import show


@click.group()
def simulate() -> None:
    """Make simulated data whose truth is known.

    Whatever is made here is simulated and says so: it checks the tools, it is no evidence about
    real affect.
    """


@simulate.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--people", type=click.IntRange(min=1), default=13, show_default=True, help="At most 13."
)
@click.option(
    "--clips", type=click.IntRange(min=1), default=3, show_default=True, help="Of each person."
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
