"""`affcache ls` and `affcache info`: what a cache holds."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def ls(cache: Path, as_json: bool) -> None:
    """List the videos of CACHE, a folder or a packed file.

    For each: frames, seconds, frames with a face, the tasks that it is annotated for (with the
    number of labelled frames), split, subject, and its size with annotations and pseudo-labels.

    \b
    Example:
      affcache ls out/sewa.zarr
    """
    from affcache.listing import list_videos

    list_videos(cache, as_json=as_json)


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def info(cache: Path, as_json: bool) -> None:
    """Say what CACHE is, who made it how, and what it holds.

    Prints dataset, extraction settings, provenance, frames, hours, frames with a face, the arrays,
    the label coverage for each task and split, size, and whether it is sealed. CACHE is a folder or
    a packed file.

    \b
    Example:
      affcache info sewa.zarr.zip
    """
    from affcache.listing import show_cache

    show_cache(cache, as_json=as_json)
