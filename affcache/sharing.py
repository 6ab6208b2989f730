"""The words of `affcache push` and `affcache pull`, and what the two print."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from affcache import notes, remote, share
from affcache.errors import CacheError
from affcache.moves import Chosen, Outcome
from affcache.progress import say
from affcache.selection import Selection, parse_selection, selected_videos
from affcache.store import Cache
from affcache.table import show


def push_cache(
    cache: Path,
    url: str,
    *,
    jobs: int | None,
    force: bool,
    dry_run: bool,
    only: Sequence[str],
    without: Sequence[str],
    options: Sequence[str],
    as_json: bool,
) -> None:
    """Push, and print what moved."""
    selection = parse_selection(only, without)
    videos = selected_videos(Cache(cache), selection) if selection.only else None
    there = remote.remote(url, parse_options(options))
    outcome = share.push(
        cache,
        there,
        jobs=jobs,
        force=force,
        dry_run=dry_run,
        chosen=choice(selection, videos),
    )
    _print("pushed", f"{there.path} from {cache}", outcome, dry_run=dry_run, as_json=as_json)


def pull_cache(
    url: str,
    cache: Path,
    *,
    jobs: int | None,
    force: bool,
    dry_run: bool,
    only: Sequence[str],
    without: Sequence[str],
    options: Sequence[str],
    as_json: bool,
) -> None:
    """Pull, and print what moved."""
    selection = parse_selection(only, without)
    if selection.only.keys() - {"video"}:
        raise CacheError(
            "--only: a cache that is not here yet is known by its videos' ids alone; say "
            "video=PATTERN, or pull all of it and take a part with `affcache subset`"
        )
    there = remote.remote(url, parse_options(options))
    outcome = share.pull(
        there,
        cache,
        jobs=jobs,
        force=force,
        dry_run=dry_run,
        chosen=choice(selection, None),
    )
    _print("pulled", f"{cache} from {there.path}", outcome, dry_run=dry_run, as_json=as_json)


def choice(selection: Selection, videos: Collection[str] | None) -> Chosen:
    """Which groups a selection keeps; groups move whole, so it cannot leave single arrays out.

    Parameters
    ----------
    videos : ids that were selected already; None leaves it to the patterns of "video"
    """
    for name in selection.without:
        if name not in ("labels", "pseudo") and not name.startswith("pseudo/"):
            raise CacheError(
                f"--without {name}: only labels, pseudo or pseudo/NAME can stay behind; "
                "for less, make a part with `affcache subset` and share that"
            )
    patterns = selection.only.get("video", ("*",))

    def chosen(group: str) -> bool:
        kind, *rest = group.split("/")
        if kind in selection.without or "/".join([kind, *rest][:2]) in selection.without:
            return False
        if notes.is_folder(group):
            return True
        if videos is not None:
            return rest[-1] in videos
        return any(fnmatchcase(rest[-1], pattern) for pattern in patterns)

    return chosen


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Options for a driver; values are JSON where they can be read as such, else plain words.

    >>> parse_options(["anon=true", "endpoint_url=http://localhost:9000"])
    {'anon': True, 'endpoint_url': 'http://localhost:9000'}
    """
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CacheError(f"--option {word}: expected KEY=VALUE")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _print(done: str, title: str, outcome: Outcome, *, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        show(f"{title}: what would move", [m.row() for m in outcome.moves], as_json=as_json)
        say(outcome.line(f"would have {done}"))
    else:
        show(title, outcome.rows(), as_json=as_json)
        say(outcome.line(done))
