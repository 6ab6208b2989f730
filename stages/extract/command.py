"""`affcache extract`: the options of stage one."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


@click.command(short_help="Stage one: videos to a feature cache.")
@click.option("--manifest", metavar="NAME|FILE", help="A dataset: its name, or a .toml file.")
@click.option("--root", type=_FOLDER, help="The folder that the manifest's paths start from.")
@click.option(
    "--video", "videos", type=_FILE, multiple=True, help="A bare video; can be given repeatedly."
)
@click.option("--out", type=_FOLDER, required=True, help="The cache, made or gone on with.")
@click.option(
    "--backbone",
    default="mini-xception",
    show_default=True,
    metavar="NAME",
    help="mini-xception: expressions, 512-d; facenet: identity, 512-d, no pseudo-labels.",
)
@click.option("--weights", type=_FILE, help="The backbone's weights, instead of the published.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="auto takes a GPU where there is one.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Frames per batch (32; GPU 128).")
@click.option(
    "--face",
    type=click.Choice(["largest", "left", "right"]),
    help="Whose face, as seen in the image; overrides the manifest.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes (default: one per core; GPU 1).")
@click.option("--limit", type=click.IntRange(1), help="Only the first N videos.")
@click.option("--force", is_flag=True, help="Replace videos whose file or face has changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing table as JSON.")
@click.pass_context
def extract(
    context: click.Context,
    manifest: str | None,
    root: Path | None,
    videos: tuple[Path, ...],
    out: Path,
    backbone: str,
    weights: Path | None,
    device: str,
    batch_size: int | None,
    face: str | None,
    workers: int | None,
    limit: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn videos into a cache of per-frame features and pseudo-labels.

    One row per decoded frame, always. A video is published whole or not at all: stop the run at
    any moment and start it again, and it goes on. What cannot be extracted is reported with its
    reason, and the exit status is 1.

    \b
    Examples:
      affcache extract --manifest clips --out out/clips.zarr
      affcache extract --manifest affwild2 --root /data/affwild2 --out out/affwild2.zarr
      affcache extract --video a.mp4 --video b.mp4 --out out/mine.zarr --face left
    """
    if bool(manifest) == bool(videos):
        raise click.UsageError("give either --manifest or --video")
    from stages.extract.pipeline import extract as run
    from stages.extract.pipeline import from_files, from_manifest
    from stages.extract.report import failures, print_result

    source = from_manifest(manifest, root) if manifest else from_files(videos)
    result = run(
        source,
        out,
        backbone=backbone,
        weights=weights,
        device=device,
        batch=batch_size,
        face=face,
        workers=workers,
        limit=limit,
        force=force,
    )
    print_result(result, str(out), as_json=as_json)
    if failures(result):
        context.exit(1)
