"""The words of `affcache push` and `affcache pull`, and what the two print."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fsspec.utils import get_protocol

from affcache import notes
from affcache.copying.selection import Selection, parse_selection, selected_videos
from affcache.errors import CacheError
from affcache.progress import say
from affcache.sharing import share
from affcache.sharing.moves import Chosen, Outcome, Terms
from affcache.sharing.remote import Remote, remote
from affcache.store import Cache
from affcache.table import show


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of both commands, as they were given."""

    only: Sequence[str]
    without: Sequence[str]
    options: Sequence[str]
    jobs: int | None
    force: bool
    dry_run: bool
    as_json: bool

    @property
    def selection(self) -> Selection:
        """What --only and --without say."""
        return parse_selection(self.only, self.without)

    def there(self, url: str, cache: Path) -> Remote:
        """The folder behind a URL, with what --option says of its driver.

        Raises
        ------
        CacheError
            If it is a file, or lies inside the cache or around it.
        """
        there = remote(url, parse_options(self.options))
        if get_protocol(url) in ("file", "local"):
            _refuse_nested(Path(there.root), cache)
        return there

    def terms(self, chosen: Chosen) -> Terms:
        """How to move what was chosen."""
        return Terms(jobs=self.jobs, force=self.force, dry_run=self.dry_run, chosen=chosen)


def push_cache(cache: Path, url: str, wanted: Wanted) -> None:
    """Push, and print what moved."""
    selection = wanted.selection
    videos = selected_videos(Cache(cache), selection) if selection.only else None
    there = wanted.there(url, cache)
    outcome = share.push(cache, there, wanted.terms(choice(selection, videos)))
    _print("pushed", f"{there.path} from {cache}", outcome, wanted)


def pull_cache(url: str, cache: Path, wanted: Wanted) -> None:
    """Pull, and print what moved."""
    selection = wanted.selection
    if selection.only.keys() - {"video"}:
        raise CacheError(
            "--only: a cache that is not here yet is known by its videos' ids alone; say "
            "video=PATTERN, or pull all of it and take a part with `affcache subset`"
        )
    there = wanted.there(url, cache)
    outcome = share.pull(there, cache, wanted.terms(choice(selection, None)))
    _print("pulled", f"{cache} from {there.path}", outcome, wanted)


def _refuse_nested(there: Path, cache: Path) -> None:
    if there.is_file():
        raise CacheError(
            f"{there}: is a file, not a folder; a packed cache is copied as it is, or made a "
            "folder with `affcache unpack`"
        )
    one, other = there.resolve(), cache.resolve()
    if one != other and (one.is_relative_to(other) or other.is_relative_to(one)):
        raise CacheError(f"{there} and {cache}: one lies inside the other; choose another place")


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


def _print(done: str, title: str, outcome: Outcome, wanted: Wanted) -> None:
    if wanted.dry_run:
        rows = [move.row() for move in outcome.moves]
        show(f"{title}: what would move", rows, as_json=wanted.as_json)
        say(outcome.line(f"would have {done}"))
    else:
        show(title, outcome.rows(), as_json=wanted.as_json)
        say(outcome.line(done))
