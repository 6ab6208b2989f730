"""From a dataset's description and a folder to frozen rows, with every problem on the way named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from affcache.manifest.description import Listed, Manifest, leaves
from affcache.manifest.splits import by_pattern, by_share
from affcache.schema import is_safe_id

ANY_TASK = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One face to be followed through one video.

    Attributes
    ----------
    id : the name of its group in the cache
    path : the video, absolute
    source : the video relative to the root, with forward slashes
    face : "largest", "left" or "right", as seen in the image
    subject : the person; what belongs together in a split
    split : task -> "train", "validation" or "test"; the task is "any" in a manifest without tasks
    annotations : task -> absolute path of its annotation; empty where there is none
    """

    id: str
    path: Path
    source: str
    face: str
    subject: str
    split: Mapping[str, str]
    annotations: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A row whose split is not known yet; an annotation is (the split of its folder, its path)."""

    id: str
    source: str
    face: str
    subject: str
    split: str | None
    annotations: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Search:
    """A description, the folder it is held against, and what was found to be wrong so far."""

    manifest: Manifest
    folder: Path
    problems: list[str]


def rows_under(manifest: Manifest, folder: Path, problems: list[str]) -> list[Row]:
    """The rows of a folder; whatever is wrong is added to `problems`."""
    search = _Search(manifest, folder, problems)
    before = len(problems)
    drafts = [*_from_globs(search), *_from_table(search)]
    if not drafts and len(problems) == before and manifest.globs:
        problems.append(f"no video: nothing in {folder} fits {', '.join(manifest.globs)}")
    problems += _id_problems(drafts)
    by_subject = by_share([d.subject for d in drafts if d.split is None], manifest.split.shares)
    return [
        Row(
            id=draft.id,
            path=folder / draft.source,
            source=draft.source,
            face=draft.face,
            subject=draft.subject,
            split=_splits(search, draft, by_subject),
            annotations={task: folder / path for task, (_, path) in draft.annotations.items()},
        )
        for draft in drafts
    ]


def annotation_files(manifest: Manifest, folder: Path) -> list[Path]:
    """Every file that lies where the description says that annotations lie, sorted."""
    anything = {"id": "*", "stem": "*", "parent": "*"}
    found: set[Path] = set()
    for by_split in manifest.labels.files.values() if manifest.labels else ():
        for templates in by_split.values():
            for template in templates:
                found |= set(folder.glob(template.format(**anything)))
    return sorted(path for path in found if not path.name.startswith("."))


def _from_globs(search: _Search) -> Iterator[_Draft]:
    """A row for every video, or for every annotated face of it where faces are told apart."""
    manifest = search.manifest
    for source in _matches(search.folder, manifest.globs):
        if not _usable(search, source, "a video"):
            continue
        plain = manifest.id.format(**_places(source))
        faces = [(manifest.face, plain), *((f, plain + s) for f, s in manifest.faces.items())]
        drafts = [_draft(search, source, video_id, face) for face, video_id in faces]
        yield from [draft for draft in drafts if draft.annotations] or drafts[:1]


def _from_table(search: _Search) -> Iterator[_Draft]:
    for entry in search.manifest.table:
        if not entry.path:
            continue  # its lack is a problem of the file
        if leaves(entry.path):
            search.problems.append(f"{entry.path}: leaves the root")
        elif _usable(search, entry.path, "a video"):
            source = PurePosixPath(entry.path).as_posix()
            video_id = entry.id or search.manifest.id.format(**_places(source))
            yield _draft(search, source, video_id, entry.face, entry)


def _draft(
    search: _Search, source: str, video_id: str, face: str, entry: Listed | None = None
) -> _Draft:
    return _Draft(
        id=video_id,
        source=source,
        face=face,
        subject=(entry and entry.subject) or _subject(search, video_id),
        split=entry.split if entry else None,
        annotations=_annotations(search, source, video_id)
        | (_own_annotations(search, entry) if entry else {}),
    )


def _matches(folder: Path, globs: tuple[str, ...]) -> list[str]:
    found = {path for pattern in globs for path in folder.glob(pattern)}
    return sorted(
        path.relative_to(folder).as_posix() for path in found if not path.name.startswith(".")
    )


def _places(source: str) -> dict[str, str]:
    path = PurePosixPath(source)
    return {"stem": path.stem, "parent": path.parent.name}


def _usable(search: _Search, source: str, what: str) -> bool:
    """Whether a path is a file of the root; links may not lead out of it."""
    path = search.folder / source
    if not path.exists():
        search.problems.append(f"{source}: missing, expected {what}")
    elif not path.resolve().is_relative_to(search.folder.resolve()):
        search.problems.append(f"{source}: leaves the root, it is a link to {path.resolve()}")
    elif not path.is_file():
        search.problems.append(f"{source}: is a folder, expected {what}")
    else:
        return True
    return False


def _subject(search: _Search, video_id: str) -> str:
    pattern = search.manifest.subject
    if pattern is None:
        return video_id
    found = pattern.match(video_id)
    if found is None or not found[1]:
        search.problems.append(f"id {video_id!r}: the subject pattern {pattern.pattern!r} fails")
        return video_id
    return str(found[1])


def _annotations(search: _Search, source: str, video_id: str) -> dict[str, tuple[str, str]]:
    labels = search.manifest.labels
    places = _places(source) | {"id": video_id}
    found: dict[str, tuple[str, str]] = {}
    for task, by_split in labels.files.items() if labels else ():
        candidates = {
            template.format(**places): split
            for split, templates in by_split.items()
            for template in templates
        }
        there = [(split, path) for path, split in candidates.items() if _lies(search, path)]
        if len(there) > 1:
            both = " and ".join(path for _, path in there)
            search.problems.append(f"{video_id}: has two annotations of {task}, {both}")
        if there and _usable(search, there[0][1], "an annotation"):
            found[task] = there[0]
    return found


def _lies(search: _Search, path: str) -> bool:
    """Whether anything is there, be it a link to nowhere."""
    return (search.folder / path).exists() or (search.folder / path).is_symlink()


def _own_annotations(search: _Search, entry: Listed) -> dict[str, tuple[str, str]]:
    found = {}
    for task, path in entry.labels.items():
        if leaves(path):
            search.problems.append(f"{path}: leaves the root")
        elif _usable(search, path, f"the annotation of {entry.path}"):
            found[task] = (entry.split or "test", path)
    return found


def _splits(search: _Search, draft: _Draft, by_subject: Mapping[str, str]) -> dict[str, str]:
    tasks = search.manifest.tasks or (ANY_TASK,)
    rule = search.manifest.split
    if draft.split is not None:
        return dict.fromkeys(tasks, draft.split)
    if rule.by == "annotation":
        return {task: draft.annotations.get(task, ("test", ""))[0] for task in tasks}
    if rule.by == "share":
        return dict.fromkeys(tasks, by_subject.get(draft.subject, "test"))
    text = draft.id if rule.by == "id" else draft.subject
    split = by_pattern(rule.patterns, text)
    if split is None and rule.patterns:
        search.problems.append(
            f"id {draft.id!r}: no pattern of [split] fits the {rule.by} {text!r}"
        )
    return dict.fromkeys(tasks, split or "test")


def _id_problems(drafts: list[_Draft]) -> list[str]:
    sources: dict[str, list[str]] = {}
    for draft in drafts:
        sources.setdefault(draft.id, []).append(draft.source)
    problems = [
        f"id {video_id!r} of {where[0]} is not a safe folder name (letters, digits, '.', '_', "
        "'-'); rename the file, or give it an id in [[videos.table]]"
        for video_id, where in sources.items()
        if not is_safe_id(video_id)
    ]
    return problems + [
        f"{len(where)} rows with the id {video_id!r}: {' and '.join(where)} (videos.id can tell "
        "them apart with {parent})"
        for video_id, where in sources.items()
        if len(where) > 1
    ]
