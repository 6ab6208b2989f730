"""Several caches as one: possible where they were extracted in the same way and do not contradict.

A video that several have, made from the same source in the same way, is taken from the first that
has it; annotations and pseudo-labels are joined task by task. Whatever contradicts is listed, all
of it, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from affcache.arrays import METADATA, group_document, json_bytes
from affcache.copying.contents import Contents, File, assembled, contents
from affcache.errors import CacheError
from affcache.publish import differing_fields
from affcache.seals import SEAL
from affcache.store import Cache

Group = dict[str, File]


def merged(caches: Sequence[Cache]) -> Contents:
    """The contents of all caches together.

    Raises
    ------
    CacheError
        If they were extracted in different ways (the differing fields are named), or contradict
        each other (all conflicts are listed).
    """
    first = caches[0]
    for other in caches[1:]:
        _refuse_other_extraction(first, other)
    joined = _Joined()
    for cache in caches:
        joined.add(cache)
    if joined.conflicts:
        raise CacheError(
            f"{len(joined.conflicts)} conflicts, nothing is merged (leave one side out with "
            f"`affcache subset`):{_listed(joined.conflicts)}"
        )
    return assembled(joined.files(), _root(caches))


class _Joined:
    """Groups of files of the caches added so far, and what contradicts among them."""

    def __init__(self) -> None:
        self.conflicts: list[str] = []
        self._groups: dict[str, Group] = {}
        self._owners: dict[str, Cache] = {}

    def files(self) -> Group:
        """Everything that was added."""
        return {name: file for group in self._groups.values() for name, file in group.items()}

    def add(self, cache: Cache) -> None:
        """Join one more cache; the earlier ones win where both sides are as good."""
        made = contents(cache)
        for name, group in _grouped(made).items():
            if name not in self._groups:
                self._groups[name], self._owners[name] = group, cache
            elif not _same(group, self._groups[name]):
                self._join(name, group, cache, made)

    def _join(self, name: str, group: Group, cache: Cache, made: Contents) -> None:
        top, *rest = name.split("/")
        if top == "videos" and rest:
            if not _same_video(self._owners[name], cache, rest[0]):
                self._conflict(name, name, cache)
        elif top == "labels" and rest:
            self._join_labels(name, group, cache, made)
        else:
            self._conflict(name, name, cache)

    def _join_labels(self, name: str, group: Group, cache: Cache, made: Contents) -> None:
        mine = self._groups[name]
        ours, theirs = _by_task(name, mine), _by_task(name, group)
        for task in sorted(ours.keys() & theirs.keys()):
            if not _same(ours[task], theirs[task]):
                self._conflict(name, f"{name}/{task}", cache)
        said = Contents(files=mine).attributes(f"{name}/{METADATA}")
        other = made.attributes(f"{name}/{METADATA}")
        for key in _contradictions(said, other):
            self._conflict(name, f"{name}: {key}", cache)
        attributes = File.made(json_bytes(group_document(_united(said, other))))
        self._groups[name] = group | mine | {f"{name}/{METADATA}": attributes}

    def _conflict(self, group: str, what: str, cache: Cache) -> None:
        one, other = self._owners[group].path, cache.path
        self.conflicts.append(f"{what} differs between {one} and {other}")


def _refuse_other_extraction(first: Cache, other: Cache) -> None:
    if first.fingerprint == other.fingerprint:
        return
    pairs = differing_fields(first.header.get("fields", {}), other.header.get("fields", {}))
    differing = [f"{key}: {one} in {first.path}, {two} in {other.path}" for key, one, two in pairs]
    raise CacheError(
        f"{other.path}: was extracted in another way than {first.path}; extract one of them again:"
        f"{_listed(differing or ['their fingerprints differ'])}"
    )


def _listed(faults: Iterable[str]) -> str:
    return "".join(f"\n  - {fault}" for fault in faults)


def _grouped(made: Contents) -> dict[str, Group]:
    """Files by what is joined as one: a video, its labels, its pseudo-labels of one set."""
    groups: dict[str, Group] = {}
    for name, file in made.files.items():
        if name not in (METADATA, SEAL):
            groups.setdefault(_group(name), {})[name] = file
    return groups


def _group(name: str) -> str:
    parts = name.split("/")
    depth = {"videos": 2, "labels": 2, "pseudo": 3}.get(parts[0], len(parts))
    return "/".join(parts[: min(depth, len(parts) - 1)]) or name


def _by_task(group: str, files: Mapping[str, File]) -> dict[str, Group]:
    tasks: dict[str, Group] = {}
    for name, file in files.items():
        task, inside, _ = name.removeprefix(f"{group}/").partition("/")
        if inside:
            tasks.setdefault(task, {})[name] = file
    return tasks


def _same(one: Mapping[str, File], other: Mapping[str, File]) -> bool:
    return {n: f.sha256 for n, f in one.items()} == {n: f.sha256 for n, f in other.items()}


def _same_video(one: Cache, other: Cache, video_id: str) -> bool:
    mine, theirs = one.video(video_id), other.video(video_id)
    said = mine.attributes.get("fingerprint")
    return (
        said is not None
        and said == theirs.attributes.get("fingerprint")
        and len(mine) == len(theirs)
    )


def _contradictions(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    found = []
    for key in sorted(one.keys() & other.keys()):
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            found += [f"{key}.{inner}" for inner in _contradictions(one[key], other[key])]
        elif one[key] != other[key]:
            found.append(key)
    return found


def _united(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    united = {**other, **one}
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            united[key] = _united(one[key], other[key])
    return united


def _root(caches: Sequence[Cache]) -> dict[str, Any]:
    """The root's attributes: the first's, and the names and provenances of all that differ."""
    header = dict(caches[0].header)
    header["dataset"] = "+".join(_distinct(str(c.header.get("dataset", "")) for c in caches))
    provenances = [
        {"dataset": c.header.get("dataset"), "provenance": c.header.get("provenance", {})}
        for c in caches
    ]
    if any(each != provenances[0] for each in provenances):
        header["provenance"] = {"merged": provenances}
    for name in ("streams", "tasks"):
        if any(isinstance(c.header.get(name), list) for c in caches):
            header[name] = _distinct(v for c in caches for v in c.header.get(name, ()))
    return caches[0].attributes | {"affcache": header}


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
