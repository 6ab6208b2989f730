"""`affcache pack`, `unpack`, `subset` and `merge`: caches made of caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
A_PATH = click.Path(path_type=Path)


def selecting(command: F) -> F:
    """The options that choose a part of a cache."""
    for option in (
        click.option(
            "--streams", metavar="NAME,...", help="Of the optional arrays, keep these only."
        ),
        click.option(
            "--without",
            multiple=True,
            metavar="WHAT,...",
            help="Leave out labels, pseudo, labels/TASK, pseudo/NAME or an optional array.",
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="KEY=VALUE,...",
            help="Keep videos by video=, subject=, split= or split.TASK= (patterns with *).",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("cache", type=A_PATH)
@click.argument("file", type=A_PATH)
@selecting
@click.option("--compress", is_flag=True, help="For cold storage: smaller, but not for training.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def pack(
    cache: Path,
    file: Path,
    only: tuple[str, ...],
    without: tuple[str, ...],
    streams: str | None,
    compress: bool,
    force: bool,
) -> None:
    """Write CACHE, or a part of it, into one zip FILE.

    The zip stores its entries as they are, aligned, so that `affcache train --cache FILE` maps it
    as it maps a folder; zarr's ZipStore and xarray read it too. The same cache always gives the
    same bytes. Every file is checked against the seal on the way.

    With --compress the entries are deflated. That is for a shelf or a slow line: such a file is
    not opened for training, only unpacked.

    \b
    Examples:
      affcache pack out/sewa.zarr sewa.zarr.zip
      affcache pack out/sewa.zarr train.zarr.zip --only split=train,validation
      affcache pack out/sewa.zarr features.zarr.zip --without labels,pseudo --streams none
    """
    from affcache.copying.copies import pack_cache

    pack_cache(cache, file, (only, without, streams), compress=compress, replace=force)


@click.command()
@click.argument("file", type=A_PATH)
@click.argument("cache", type=A_PATH)
def unpack(file: Path, cache: Path) -> None:
    """Write a packed FILE out as the folder CACHE.

    Both kinds of file are read, stored and compressed. Every byte is checked against the seal
    before the folder appears; a file that was damaged, or made to do damage, leaves nothing behind.

    \b
    Example:
      affcache unpack sewa.zarr.zip out/sewa.zarr
    """
    from affcache.copying.copies import unpack_cache

    unpack_cache(file, cache)


@click.command()
@click.argument("cache", type=A_PATH)
@click.argument("out", type=A_PATH)
@selecting
def subset(
    cache: Path, out: Path, only: tuple[str, ...], without: tuple[str, ...], streams: str | None
) -> None:
    """Write a part of CACHE (a folder or a packed file) as a cache of its own, OUT.

    OUT is a folder, or a packed file if its name ends with .zip. The part says in its provenance
    what was left out. "split" is met by the split of any task, "split.va" by that of va alone.

    \b
    Examples:
      affcache subset out/sewa.zarr out/train.zarr --only split.va=train
      affcache subset sewa.zarr.zip out/p01.zarr --only subject=p01,video=*_c1
      affcache subset out/sewa.zarr out/bare.zarr --without labels --streams low,mid
    """
    from affcache.copying.copies import subset_cache

    subset_cache(cache, out, (only, without, streams))


@click.command()
@click.argument("out", type=A_PATH)
@click.argument("caches", type=A_PATH, nargs=-1, required=True)
def merge(out: Path, caches: tuple[Path, ...]) -> None:
    """Write several CACHES (folders or packed files) as one, OUT.

    They must have been extracted in the same way. A video that several have is taken once, from the
    first; annotations and pseudo-labels are joined. If any contradict each other, all conflicts are
    listed and nothing is written. OUT is a folder, or a packed file if its name ends with .zip.

    \b
    Example:
      affcache merge out/all.zarr out/german.zarr hungarian.zarr.zip
    """
    from affcache.copying.copies import merge_caches

    merge_caches(out, caches)
