"""A dataset's TOML file, checked: data, no code, and nobody's disk.

What is wrong with the file is collected, with the line where it stands, and carried along in
`Manifest.problems`, so that `affcache.manifest.resolve` can name it together with what is wrong
with the files. The grammar is the docstring of `affcache.manifest`.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath, PurePosixPath

from affcache.errors import ManifestError
from affcache.manifest.splits import RULES, SplitRule
from affcache.schema import SPLITS, TASKS, is_safe_id
from affcache.tomltable import NUMBER, TABLES, TEXT, TEXTS, TomlTable, subject_pattern

FACES = ("largest", "left", "right")
FORMATS = {"affwild2": TASKS, "sewa": ("va",), "frame-csv": TASKS}
PLACES = ("id", "stem", "parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One video of `[[videos.table]]`; None where the general rules decide."""

    path: str
    id: str | None
    face: str
    subject: str | None
    split: str | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFiles:
    """How a dataset is annotated.

    Attributes
    ----------
    format : a name in `affcache.labels.READERS`
    scale : how the files write the strongest valence or arousal; their values are divided by it
    files : task -> split -> templates of the files' paths; the split is "" where it is not the
        annotation's folder that decides it
    """

    format: str
    scale: float
    files: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A dataset's description, as its file says it (see `affcache.manifest` for the keys)."""

    name: str
    title: str
    tasks: tuple[str, ...]
    fps: float | None
    root_variable: str | None
    assets: tuple[str, ...]
    globs: tuple[str, ...]
    table: tuple[Listed, ...]
    id: str
    face: str
    faces: Mapping[str, str]
    subject: re.Pattern[str] | None
    split: SplitRule
    labels: LabelFiles | None
    problems: tuple[str, ...]


def parse(text: str, where: str) -> Manifest:
    """Read a manifest.

    Parameters
    ----------
    text : the TOML document
    where : its file, for messages

    Raises
    ------
    ManifestError
        If it is not TOML at all; whatever else is wrong goes into `problems`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{where}: not TOML: {error}") from None
    problems: list[str] = []
    top = TomlTable(document, (), text, problems)
    manifest = _read(top, unnamed=PurePath(where).stem)
    top.close()
    return replace(manifest, problems=tuple(problems))


def _read(top: TomlTable, unnamed: str) -> Manifest:
    name = top.take("name", TEXT, "", required=True)
    if name and not is_safe_id(name):
        top.problems.append(f"name {name!r} is not made of letters, digits, '.', '_' and '-'")
    listed = (f"a list of {', '.join(TASKS)}, or []", TEXTS[1])
    tasks = tuple(_each(top, "tasks", top.take("tasks", listed, [], required=True), TASKS))
    videos, split = top.table("videos"), top.table("split")
    globs = [g for g in videos.take("globs", TEXTS, []) if _is_glob(videos, g)]
    entries = videos.take("table", TABLES, [])
    table = tuple(
        _listed(TomlTable(entry, ("videos", f"table[{k}]"), top.text, top.problems), tasks)
        for k, entry in enumerate(entries, start=1)
    )
    if bool(videos.values.get("globs")) == bool(videos.values.get("table")):
        top.problems.append("[videos] needs globs, or one [[videos.table]] for each video")
    manifest = Manifest(
        name=name or unnamed,
        title=top.take("title", TEXT, name),
        tasks=tasks,
        fps=top.take("fps", NUMBER),
        root_variable=top.take("root_variable", TEXT),
        assets=tuple(top.take("assets", TEXTS, [])),
        globs=tuple(globs),
        table=table,
        id=_template(videos, "id", videos.take("id", TEXT, "{stem}"), ("stem", "parent")),
        face=_one(videos, "face", videos.take("face", TEXT, "largest"), FACES),
        faces=_faces(videos.table("faces")),
        subject=subject_pattern(top),
        split=_split(split, needed=not table or any(entry.split is None for entry in table)),
        labels=_labels(top.table("labels"), tasks, split.values.get("by") == "annotation"),
        problems=(),
    )
    videos.close()
    top.problems += _contradictions(manifest)
    return manifest


def _contradictions(manifest: Manifest) -> list[str]:
    """What is wrong with keys that are right each by itself."""
    labels, own = manifest.labels, [entry for entry in manifest.table if entry.labels]
    if labels is None:
        return ["[[videos.table]] gives labels, but [labels] no format of theirs"] if own else []
    tasks = {*labels.files, *(task for entry in own for task in entry.labels)}
    found = [
        f"the format {labels.format!r} has no {task}, but files of it are named"
        for task in sorted(tasks - set(FORMATS[labels.format]))
    ]
    if manifest.split.by == "annotation":
        found += [
            f"{entry.path}: has labels of its own but no split, and no folder says it"
            for entry in own
            if entry.split is None
        ]
    if labels.scale != 1 and labels.format != "frame-csv":
        found.append(f"labels.scale: the format {labels.format!r} has a fixed scale")
    return found


def _listed(entry: TomlTable, tasks: Sequence[str]) -> Listed:
    path = entry.take("path", TEXT, "", required=True)
    split = entry.take("split", TEXT)
    labels = entry.table("labels")
    listed = Listed(
        path=path,
        id=entry.take("id", TEXT),
        face=_one(entry, "face", entry.take("face", TEXT, "largest"), FACES),
        subject=entry.take("subject", TEXT),
        split=split and _one(entry, "split", split, SPLITS),
        labels=_present({task: labels.take(task, TEXT) for task in tasks}),
    )
    labels.close()
    entry.close()
    return listed


def _faces(table: TomlTable) -> dict[str, str]:
    faces = _present({face: table.take(face, TEXT) for face in FACES[1:]})
    table.close()
    return faces


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _split(table: TomlTable, *, needed: bool) -> SplitRule:
    rules = (" or ".join(RULES), TEXT[1])
    by = _one(table, "by", table.take("by", rules, "id", required=needed), RULES)
    check = NUMBER if by == "share" else TEXTS
    given = {split: table.take(split, check) for split in SPLITS if by != "annotation"}
    found = {split: value for split, value in given.items() if value is not None}
    table.close()
    if needed and "by" in table.values and by != "annotation" and not found:
        table.problems.append(f"[split] by {by!r} says nothing of {', '.join(SPLITS)}")
    if by == "share":
        if found and abs(sum(found.values()) - 1) > 1e-6:
            table.problems.append(f"the shares of [split] add up to {sum(found.values())}, not 1")
        return SplitRule(by=by, patterns={}, shares=found)
    return SplitRule(by=by, patterns={s: tuple(v) for s, v in found.items()}, shares={})


def _labels(table: TomlTable, tasks: Iterable[str], by_folder: bool) -> LabelFiles | None:
    if not table.values:
        if by_folder:
            table.problems.append("[split] by 'annotation' needs [labels.files]")
        return None
    files = table.table("files")
    found = {task: _task_files(files, task, by_folder) for task in tasks if task in files.values}
    files.known += [task for task in tasks if task not in files.known]
    chosen = table.take("format", TEXT, "", required=True)
    labels = LabelFiles(
        format=_one(table, "format", chosen, tuple(FORMATS)) if chosen else "frame-csv",
        scale=float(table.take("scale", NUMBER, 1.0)),
        files=found,
    )
    files.close()
    table.close()
    return labels


def _task_files(files: TomlTable, task: str, by_folder: bool) -> dict[str, tuple[str, ...]]:
    if not by_folder:
        return {"": _templates(files, task)}
    table = files.table(task)
    found = {split: _templates(table, split) for split in SPLITS if split in table.values}
    table.known += [split for split in SPLITS if split not in table.known]
    table.close()
    return found


def _templates(table: TomlTable, key: str) -> tuple[str, ...]:
    given: list[str] = table.take(key, TEXTS, [])
    return tuple(_template(table, key, g, PLACES) for g in given if _stays(table, key, g))


def _template(table: TomlTable, key: str, template: str, places: tuple[str, ...]) -> str:
    try:
        used = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        used = {str(error)}
    wrong = sorted(used - set(places))
    if not wrong and used:
        return template
    said = f"has {{{wrong[0]}}}" if wrong else "is the same for every video"
    table.problems.append(
        f"{table.name(key)}{table.line(key)} {said}: "
        f"known places are {', '.join(f'{{{place}}}' for place in places)}"
    )
    return "{stem}"


def _is_glob(videos: TomlTable, pattern: str) -> bool:
    if any("**" in part and part != "**" for part in PurePosixPath(pattern).parts):
        videos.problems.append(
            f"videos.globs{videos.line('globs')}: {pattern!r} has ** beside other letters; it "
            "stands for any number of folders, as in videos/**/*.mp4"
        )
        return False
    return _stays(videos, "globs", pattern)


def _stays(table: TomlTable, key: str, path: str) -> bool:
    if leaves(path):
        table.problems.append(f"{table.name(key)}{table.line(key)}: {path!r} leaves the root")
        return False
    return True


def leaves(path: str) -> bool:
    """Whether a path of a manifest is absolute or climbs out of the folder it belongs to."""
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts or "\\" in path


def _one(table: TomlTable, key: str, value: str, allowed: tuple[str, ...]) -> str:
    found = _each(table, key, [value], allowed)
    return found[0] if found else allowed[0]


def _each(table: TomlTable, key: str, values: list[str], allowed: tuple[str, ...]) -> list[str]:
    wrong = [value for value in values if value not in allowed]
    if wrong:
        table.problems.append(
            f"{table.name(key)}{table.line(key)} is {wrong[0]!r}, expected {' or '.join(allowed)}"
        )
    return [value for value in dict.fromkeys(values) if value in allowed]
