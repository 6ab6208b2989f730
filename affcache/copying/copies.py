"""Caches made of caches: what `affcache pack`, `unpack`, `subset` and `merge` do, and say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from affcache.copying.contents import Contents, contents
from affcache.copying.merge import merged
from affcache.copying.pack import write_pack
from affcache.copying.selection import parse_selection
from affcache.copying.unpack import packed_contents, write_folder
from affcache.errors import CacheError
from affcache.progress import readable_bytes, say
from affcache.staging import refuse_existing
from affcache.store import Cache

Words = tuple[Iterable[str], Iterable[str], str | None]


def pack_cache(
    cache: Path, file: Path, words: Words, *, compress: bool = False, replace: bool = False
) -> None:
    """Write a cache, or the part that the words of --only, --without, --streams say, as a zip."""
    if file.suffix != ".zip":
        raise CacheError(f"{file}: a packed cache's name ends with .zip (say {file.name}.zip)")
    _refuse_inside(cache, file)
    if not replace:
        refuse_existing(file)
    made = contents(Cache(cache), parse_selection(*words))
    write_pack(made, file, compress=compress, replace=replace)
    _say(made, file)
    if compress:
        share = file.stat().st_size / max(made.size, 1)
        say(f"{file}: compressed to {share:.0%}; `affcache unpack` it before training from it")


def unpack_cache(file: Path, cache: Path) -> None:
    """Write a packed cache as a folder, with every byte checked before it appears."""
    refuse_existing(cache)
    if not file.is_file():
        what = "is a folder, not a packed cache" if file.is_dir() else "no such file"
        raise CacheError(f"{file}: {what}")
    made = packed_contents(file)
    write_folder(made, cache)
    _say(made, cache)


def subset_cache(cache: Path, out: Path, words: Words) -> None:
    """Write a part of a cache as a cache of its own."""
    _refuse_inside(cache, out)
    refuse_existing(out)
    _write(contents(Cache(cache), parse_selection(*words)), out)


def merge_caches(out: Path, caches: Sequence[Path]) -> None:
    """Write several caches as one."""
    refuse_existing(out)
    for cache in caches:
        _refuse_inside(cache, out)
    _write(merged([Cache(cache) for cache in caches]), out)


def _write(made: Contents, out: Path) -> None:
    if out.suffix == ".zip":
        write_pack(made, out)
    else:
        write_folder(made, out)
    _say(made, out)


def _say(made: Contents, out: Path) -> None:
    say(f"{out}: {len(made.videos)} videos, {readable_bytes(made.size)}, every file checked")


def _refuse_inside(cache: Path, out: Path) -> None:
    if out.resolve().is_relative_to(cache.resolve()):
        raise CacheError(f"{out}: lies inside {cache}; a copy needs a place of its own")
