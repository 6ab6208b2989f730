"""Foreign features and labels to a sealed cache, video by video.

A video is published whole or not at all, and what is published is kept, so a broken import is
completed by the same command. The fingerprint is over the [features] table, the names of the
feature columns and the stored type; a video's own is over its file's sha256 besides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache as memoized
from pathlib import Path
from typing import Any

import numpy as np

from affcache import __version__, publish, store
from affcache.errors import ForeignError
from affcache.foreign.discover import Source, find_one, find_sources, where_of
from affcache.foreign.frames import frames_of, wanted_of
from affcache.foreign.labels import Labels, read_labels
from affcache.foreign.resample import RULES
from affcache.foreign.rows import Block, read_rows
from affcache.foreign.spec import Spec
from affcache.manifest.splits import by_pattern, by_share
from affcache.progress import Progress, say
from affcache.schema import FORMAT_VERSION, SPLITS, TASKS
from affcache.store import Cache

FACE = "given"
MOST_NAMES = 4096
Report = dict[str, Any]


def build(spec: Spec, features: Path, labels: Path, out: Path) -> list[Report]:
    """Import a folder of features, and of labels if the spec has any.

    Parameters
    ----------
    spec : what is what (see `affcache.foreign`)
    features, labels : the folders that the spec's paths start from
    out : the cache's folder

    Returns
    -------
    One row per video: video, status, frames, without face, features, fps, labels (frames by task),
    split.

    Raises
    ------
    ForeignError
        If a file is not as the spec says; what was imported before it stays.
    CacheError
        If the folder holds another cache.
    """
    sources = find_sources(spec.features.files, features)
    if spec.labels and not labels.is_dir():
        raise ForeignError(f"{labels}: is not a folder; labels are looked for in it")
    for label in spec.labels:
        if not any(find_one(label.files, labels, source.id) for source in sources):
            one = where_of(label.files, sources[0].id)
            raise ForeignError(f"{labels}: no video has labels of {label.task}, such as {one}")
    names = _names(spec, sources[0])
    fields = _fields(spec, names)
    publish.create(out, spec.dataset, fields, _provenance(spec, names))
    subjects = {source.id: _subject(spec, source.id) for source in sources}
    splits = _splits(spec, subjects)
    digest = memoized(store.sha256_of)
    reports = []
    with store.unsealed(out), Progress("importing", len(sources), "videos") as progress:
        for source in sources:
            sha256 = digest(source.path)
            status = _import_video(spec, source, sha256, names, fields, out, features)
            video = Cache(out).video(source.id)
            found = read_labels(spec.labels, labels, source.id, np.array(video.array("time")))
            attributes = _label_attributes(spec, subjects[source.id], splits[source.id], found)
            store.write_labels(out, source.id, found.arrays, attributes)
            for note in found.notes:
                say(f"{source.id}: {note}")
            report = _report(video, status, found, splits[source.id])
            if report["without face"] == report["frames"]:
                say(
                    f"{source.id}: no frame has a face; a row that misses a feature has none "
                    "(leave columns that are always empty out with `exclude`)"
                )
            reports.append(report)
            progress.advance(note=source.id)
    return reports


def _import_video(
    spec: Spec,
    source: Source,
    sha256: str,
    names: tuple[str, ...],
    fields: Mapping[str, Any],
    out: Path,
    root: Path,
) -> str:
    """Publish one video's features, unless they are there; says which."""
    identity = sha256 if not source.group else f"{sha256}:{source.group}"
    want = publish.video_fingerprint(fields, FACE, identity)
    with publish.claim(out, source.id) as free:
        if not free:
            raise ForeignError(f"{out}: another process imports {source.id}; try again later")
        have = publish.published_fingerprint(out, source.id)
        if have == want:
            return "kept"
        if have is not None:
            raise ForeignError(
                f"{source.path}: is not the file that {source.id} was imported from; "
                "choose another --out"
            )
        with publish.VideoWriter(out, source.id, {}) as writer:
            ends: list[float] = []
            blocks = _same_names(spec, source, names)
            for arrays in frames_of(blocks, spec.features, source.id, source.path):
                writer.append(arrays)
                ends = [*ends[:1], *arrays["time"][[0, -1]].tolist()]
            if writer.rows == 0:
                raise ForeignError(f"{source.path}: there is no row for {source.id}")
            writer.publish(
                {
                    "fps": spec.features.files.fps or _rate(ends, writer.rows),
                    "source": source.path.relative_to(root).as_posix(),
                    "source_group": source.group,
                    "source_sha256": identity,
                    "source_bytes": source.path.stat().st_size,
                    "face": FACE,
                    "fingerprint": want,
                }
            )
    return "imported"


def _same_names(spec: Spec, source: Source, names: tuple[str, ...]) -> Iterator[Block]:
    wanted = wanted_of(spec.features, source.group)
    for block in read_rows(spec.features.files.format, source.path, wanted):
        if block.names != names:
            other = [pair for pair in zip(names, block.names, strict=False) if pair[0] != pair[1]]
            differs = f"{other[0][1]!r} instead of {other[0][0]!r}" if other else "more or fewer"
            raise ForeignError(
                f"{source.path}: has {len(block.names)} feature columns, the first file has "
                f"{len(names)} ({differs}); videos of one cache have the same"
            )
        yield block


def _names(spec: Spec, first: Source) -> tuple[str, ...]:
    """The feature columns of the first file; an OpenFace file that is not called so is told."""
    files = spec.features.files
    if files.format == "csv" and files.time is None:
        from affcache.foreign.csvtable import looks_like_openface

        if looks_like_openface(first.path):
            say(f"{first.path} is OpenFace's: format = 'openface' reads its time and success, too")
    wanted = wanted_of(spec.features, first.group)
    for block in read_rows(files.format, first.path, wanted):
        return block.names
    raise ForeignError(f"{first.path}: has no row")


def _fields(spec: Spec, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "import": spec.fields(),
        "columns": {
            "count": len(names),
            "sha256": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        },
        "dtype": "float16",
    }


def _provenance(spec: Spec, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "affcache": __version__,
        "made by": "affcache import",
        "about": spec.about,
        "feature_names": list(names[:MOST_NAMES]),
        "labels": {
            f"{k}. {label.task}": RULES[label.resample] for k, label in enumerate(spec.labels, 1)
        },
        "spec": spec.text,
    }


def _subject(spec: Spec, video_id: str) -> str:
    if spec.subject is None:
        return video_id
    found = spec.subject.search(video_id)
    if found is None or found[1] is None:
        raise ForeignError(
            f"video {video_id}: its id does not fit subject {spec.subject.pattern!r}"
        )
    return found[1]


def _splits(spec: Spec, subjects: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Split of every task, by video; a video that no pattern fits is in none."""
    rule = spec.split
    if rule.by == "share":
        shares = by_share(subjects.values(), rule.shares)
        chosen = {video_id: shares.get(subject) for video_id, subject in subjects.items()}
    else:
        patterns = {split: rule.patterns[split] for split in SPLITS if split in rule.patterns}
        chosen = {
            video_id: by_pattern(patterns, video_id if rule.by == "id" else subject)
            for video_id, subject in subjects.items()
        }
    tasks = dict.fromkeys(t.task.removesuffix("_intensity") for t in spec.labels) or TASKS
    return {
        video_id: dict.fromkeys(tasks, split) if split else {} for video_id, split in chosen.items()
    }


def _label_attributes(
    spec: Spec, subject: str, split: Mapping[str, str], found: Labels
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "dataset": spec.dataset,
        "subject": subject,
        "split": dict(split),
        "rule": "; ".join(f"{what}: {rule}" for what, rule in found.rules.items()),
        "notes": list(found.notes),
        "sources": found.sources,
    }
    return attributes | ({"au_intensity_names": list(found.names)} if found.names else {})


def _report(video: store.Video, status: str, found: Labels, split: Mapping[str, str]) -> Report:
    valid = video.array("valid")
    counts = {task: int(_labelled(rows).sum()) for task, rows in found.arrays.items()}
    return {
        "video": video.id,
        "status": status,
        "frames": len(valid),
        "without face": int((~valid).sum()),
        "features": video.array("features").shape[1],
        "fps": video.attributes["fps"],
        "labels": ", ".join(f"{task} {count}" for task, count in counts.items()) or "none",
        "split": next(iter(split.values()), "none"),
    }


def _labelled(rows: np.ndarray) -> np.ndarray:
    there = ~np.isnan(rows) if rows.dtype.kind == "f" else rows != -1
    some: np.ndarray = there.reshape(len(rows), -1).any(axis=1)
    return some


def _rate(ends: list[float], frames: int) -> float | None:
    """Frames per second from the first to the last time; OpenFace's single steps are rounded."""
    return round((frames - 1) / (ends[-1] - ends[0]), 3) if frames > 1 else None
