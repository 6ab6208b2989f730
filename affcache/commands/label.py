"""`affcache label`: annotations beside the features."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--cache", type=click.Path(path_type=Path), required=True, help="The cache to write them into."
)
@click.option(
    "--manifest",
    metavar="NAME|FILE",
    required=True,
    help="A dataset: its name (`affcache manifest list`), or a .toml file.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where the dataset lies; else the manifest's environment variable says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def label(cache: Path, manifest: str, root: Path | None, as_json: bool) -> None:
    """Write a dataset's annotations beside the features of a cache.

    The features are not touched, so labelling again, with other annotations or another split, is
    cheap. `affcache extract` does it too when the annotations are there. All files are read before
    anything is written. A video's labels are replaced as a whole; those of a video that is not
    annotated any more are kept and named. Prints how many frames got labels, for each task and
    split, and which videos differ from their annotation in length.

    \b
    affcache label --cache out/affwild2.zarr --manifest affwild2 --root /data/affwild2
    """
    from affcache.labels.report import label_cache

    label_cache(cache, manifest, root, as_json=as_json)
