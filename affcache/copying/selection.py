"""Which part of a cache: which videos, which of their arrays, which annotations.

`--only split=train,validation,subject=p0*` keeps the videos whose split is one of the two and whose
subject begins with p0; `--without labels,pseudo_va` leaves out what is named; `--streams low,mid`
leaves out every further array of the videos but these (features, masks, times and face geometry
stay).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from affcache.arrays import METADATA
from affcache.errors import CacheError
from affcache.schema import FACE_ARRAYS, REQUIRED_ARRAYS, TASKS
from affcache.store import Cache, Video

KEPT_ARRAYS = {*REQUIRED_ARRAYS, *FACE_ARRAYS, "score"}  # `--streams` is not about them
KEYS = ("video", "subject", "split", *(f"split.{task}" for task in TASKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A part of a cache, as asked for.

    Attributes
    ----------
    only : key of `KEYS` -> patterns (`*`, `?`, `[...]`); a video is kept if it matches one of the
        patterns of every key. "split" is met by any task's split, "split.va" by that of va
    without : "labels", "labels/TASK", "pseudo", "pseudo/NAME" or a video array's name
    streams : of the arrays beyond features, masks, times and face geometry, those to keep; None
        keeps all
    """

    only: Mapping[str, tuple[str, ...]]
    without: tuple[str, ...] = ()
    streams: tuple[str, ...] | None = None

    def described(self) -> dict[str, Any]:
        """The selection as a cache's provenance records it."""
        return asdict(self)


EVERYTHING = Selection(only={})


def parse_selection(
    only: Iterable[str] = (), without: Iterable[str] = (), streams: str | None = None
) -> Selection:
    """A selection from the words of the command line; several values are separated by commas.

    >>> parse_selection(["split=train,test,subject=p0*"], ["labels"]).only
    {'split': ('train', 'test'), 'subject': ('p0*',)}

    Raises
    ------
    CacheError
        If a key is unknown or a value is missing.
    """
    found: dict[str, list[str]] = {}
    for words in only:
        key = ""
        for word in words.split(","):
            before, equals, value = word.partition("=")
            key, value = (before.strip(), value) if equals else (key, word)
            if key not in KEYS or not value.strip():
                raise CacheError(
                    f"--only {words}: {word!r} is not KEY=VALUE; keys are {', '.join(KEYS)}"
                )
            found.setdefault(key, []).append(value.strip())
    return Selection(
        only={key: tuple(values) for key, values in found.items()},
        without=tuple(_words(",".join(without))),
        streams=None if streams is None else tuple(w for w in _words(streams) if w != "none"),
    )


def selected_videos(cache: Cache, selection: Selection) -> list[str]:
    """Ids of the videos that a selection keeps, sorted.

    Raises
    ------
    CacheError
        If a pattern matches no video, or no video matches all keys; the message says what there is.
    """
    videos = cache.videos()
    if not selection.only:
        return [video.id for video in videos]
    said = {video.id: _facts(video) for video in videos}
    for key, patterns in selection.only.items():
        there = {value for facts in said.values() for value in facts[key]}
        for pattern in patterns:
            if not any(fnmatchcase(value, pattern) for value in there):
                raise CacheError(
                    f"{cache.path}: no video has {key}={pattern}; there is {_some(there)}"
                )
    kept = [i for i, facts in said.items() if _matches(facts, selection.only)]
    if not kept:
        raise CacheError(f"{cache.path}: no video meets all of --only {dict(selection.only)}")
    return kept


def check_names(selection: Selection, names: Collection[str], where: object) -> None:
    """Refuse a selection that names an array, task or set of pseudo-labels that is not there.

    Parameters
    ----------
    names : of the cache's files
    """
    paths = [name.split("/") for name in names if name.endswith(f"/{METADATA}")]
    arrays = {path[2] for path in paths if path[0] == "videos" and len(path) == 4}
    tasks = {f"labels/{path[2]}" for path in paths if path[0] == "labels" and len(path) == 4}
    sets = {f"pseudo/{path[1]}" for path in paths if path[0] == "pseudo" and len(path) == 3}
    optional = arrays - set(REQUIRED_ARRAYS)
    choices = {"labels", "pseudo"} | tasks | sets | optional
    for name in selection.without:
        if name in REQUIRED_ARRAYS:
            raise CacheError(f"--without {name}: every cache has it; it cannot be left out")
        if name not in choices:
            raise CacheError(f"--without {name}: {where} has no such; there is {_some(choices)}")
    streams = arrays - KEPT_ARRAYS
    for name in selection.streams or ():
        if name not in streams:
            raise CacheError(f"--streams {name}: {where} has no such; there is {_some(streams)}")


def is_kept(name: str, videos: Collection[str], selection: Selection) -> bool:
    """Whether a file of a cache is part of the selection (videos as `selected_videos` says)."""
    top, *rest = name.split("/")
    without, streams = selection.without, selection.streams
    if top not in ("videos", "labels", "pseudo") or top in without:
        return top not in without
    if top == "pseudo":
        if len(rest) > 1 and f"pseudo/{rest[0]}" in without:
            return False
        rest = rest[1:]
    if len(rest) < 2:
        return True
    if rest[0] not in videos:
        return False
    inner = rest[1]
    if len(rest) == 2 or top == "pseudo":
        return True
    if top == "labels":
        return f"labels/{inner}" not in without
    wanted = streams is None or inner in streams or inner in KEPT_ARRAYS
    return wanted and inner not in without


def _facts(video: Video) -> dict[str, set[str]]:
    said = video.label_attributes
    split = said.get("split")
    splits = {str(k): str(v) for k, v in split.items()} if isinstance(split, dict) else {}
    return {
        "video": {video.id},
        "subject": {str(said["subject"])} if "subject" in said else set(),
        "split": set(splits.values()),
        **{f"split.{task}": {splits[task]} if task in splits else set() for task in TASKS},
    }


def _matches(facts: Mapping[str, set[str]], only: Mapping[str, tuple[str, ...]]) -> bool:
    return all(
        any(fnmatchcase(value, pattern) for value in facts[key] for pattern in patterns)
        for key, patterns in only.items()
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _some(names: Iterable[str], most: int = 12) -> str:
    listed = sorted(names)
    rest = f", ... ({len(listed)} in all)" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest or "nothing of that kind"
