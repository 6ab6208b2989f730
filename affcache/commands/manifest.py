"""`affcache manifest`: what a dataset's description resolves to."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def manifest() -> None:
    """List the described datasets, and hold a description against a folder.

    A dataset is a TOML file: which videos, whose face, which person, which split, which annotation.
    `python -m pydoc affcache.manifest` prints its grammar, `manifests/` holds examples.

    \b
    affcache manifest list
    affcache manifest show clips
    affcache manifest show affwild2 --root /data/affwild2
    affcache manifest show mine.toml --root /data/mine --json
    """


@manifest.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_manifests(as_json: bool) -> None:
    """Print the datasets that are described here."""
    from affcache.manifest.overview import show_manifests

    show_manifests(as_json=as_json)


@manifest.command()
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where the dataset lies; else the manifest's environment variable says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every row as JSON.")
def show(name: str, root: Path | None, as_json: bool) -> None:
    """Print what NAME (or a .toml FILE) resolves to: rows, people and hours per task and split.

    Every problem is named at once: a missing file, two rows with one id, an unknown key, a path
    that leaves the root, an id that is no safe folder name, no video at all. Annotations without a
    video, and videos that do not say how long they are, are only mentioned.
    """
    from affcache.manifest.overview import show_manifest

    show_manifest(name, root, as_json=as_json)
