"""What the command line says about assets: the list, and one line for each that was fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from affcache import assets
from affcache.errors import AssetError
from affcache.table import show


def show_assets(*, as_json: bool) -> None:
    """Print the table of assets; as JSON with licences and files."""
    rows = [
        {
            "name": asset.name,
            "about": asset.about,
            "MB": sum(file.bytes for file in asset.files.values()) / 1e6,
            "state": assets.state(asset.name),
        }
        for asset in assets.ASSETS.values()
    ]
    if as_json:
        rows = [row | _further(assets.ASSETS[str(row["name"])]) for row in rows]
    show(f"assets, kept in {assets.home() / 'assets'}", rows, as_json=as_json)


def _further(asset: assets.Asset) -> dict[str, object]:
    return {
        "licence": asset.licence,
        "from": asset.origin,
        "folder": str(assets.folder(asset.name)),
        "files": {file.name: file.sha256 for file in asset.files.values()},
    }


def fetch_assets(names: Sequence[str], source: Path | None) -> None:
    """Fetch each name and print its folder."""
    if source is not None and len(names) != 1:
        raise AssetError(f"--from gives the files of one asset, here are {len(names)} names")
    for name in names:
        click.echo(f"{name}  {assets.fetch(name, source)}")
