"""What the command line says about assets: the list, and one line for each that was fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from affcache import assets
from affcache.errors import AssetError
from affcache.table import show


def show_assets(*, as_json: bool) -> None:
    """Print the table of assets, as text or JSON."""
    rows = [
        {
            "name": asset.name,
            "about": asset.about,
            "files": len(asset.files),
            "MB": f"{sum(file.bytes for file in asset.files.values()) / 1e6:.1f}",
            "licence": asset.licence,
            "from": asset.origin,
            "state": assets.state(asset.name),
        }
        for asset in assets.ASSETS.values()
    ]
    show(f"assets, kept in {assets.home() / 'assets'}", rows, as_json=as_json)


def fetch_assets(names: Sequence[str], source: Path | None) -> None:
    """Fetch each name and print its folder."""
    if source is not None and len(names) != 1:
        raise AssetError(f"--from gives the files of one asset, here are {len(names)} names")
    for name in names:
        click.echo(f"{name}  {assets.fetch(name, source)}")
