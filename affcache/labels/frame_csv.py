"""A table with a row per frame: the format of the simulated videos, and of a dataset of your own.

The first line names the columns, in any order and with any others among them, which are ignored:

    frame       the number of the decoded video frame, the first is 0; need not be complete
    valence, arousal        in [-1, 1], or divided by the manifest's labels.scale; both or neither
    expression  a name of `affcache.schema.EXPRESSIONS` or its number
    AU1, AU2, ...           0 or 1

Which columns must be there follows from the tasks that the manifest names a file for. An empty
field means that the frame has no label; frames without a row have none either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from affcache.labels.annotation import Annotation, unlabelled
from affcache.labels.lines import SCALE_HINT, Line, read_lines
from affcache.manifest import Row
from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS

RULE = "each row names its frame, the first is 0; frames without a row are unlabelled"
FRAMES = range(2**31)
UNITS = tuple(f"au{unit}" for unit in ACTION_UNITS)

Columns = Mapping[str, int]


def read(row: Row, time: np.ndarray, scale: float = 1.0) -> Annotation:
    """The annotations of one video, one row per frame (see `affcache.labels.read`)."""
    arrays, notes = {}, []
    for task, path in row.annotations.items():
        arrays[task], said = _read_task(task, path, len(time), scale)
        notes += said
    return Annotation(arrays=arrays, rule=RULE, notes=tuple(notes))


def _read_task(task: str, path: Path, frames: int, scale: float) -> tuple[np.ndarray, list[str]]:
    header, *lines = read_lines(path, ",")
    columns = _columns(header, task)
    labels = unlabelled(task, frames)
    seen: dict[int, int] = {}
    for line in lines:
        line.expect(len(header.fields), header.fields)
        frame = line.whole(line.fields[columns["frame"]], "frame", FRAMES)
        if frame in seen:
            line.wrong(f"frame {frame} stands on line {seen[frame]} already")
        seen[frame] = line.number
        value = _value(task, line, columns, scale)
        if value is not None and frame < frames:
            labels[frame] = value
    return labels, _notes(task, list(seen), frames)


def _columns(header: Line, task: str) -> Columns:
    """Where the columns are; refuses a header that lacks one the task needs, or has one twice."""
    names = [name.lower() for name in header.fields]
    needed = {"va": ("frame", *DIMENSIONS), "expr": ("frame", "expression"), "au": ("frame",)}[task]
    wanted = (*needed, *UNITS) if task == "au" else needed
    missing = [name for name in needed if name not in names]
    if task == "au" and not any(name in names for name in UNITS):
        missing.append("AU1 or another action unit")
    if missing:
        header.wrong(
            f"no column {' and none '.join(missing)} for {task} in {','.join(names)!r:.80}"
        )
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        header.wrong(f"the column {twice[0]} is there twice")
    return {name: names.index(name) for name in wanted if name in names}


def _value(task: str, line: Line, columns: Columns, scale: float) -> object:
    """One frame's label as the array takes it, None where the fields are empty."""
    texts = {name: line.fields[at] for name, at in columns.items() if name != "frame"}
    if not any(texts.values()):
        return None
    if task == "va":
        if not all(texts.values()):
            line.wrong("valence and arousal must both be given, or both be empty")
        return [line.affect(texts[d], d, scale, SCALE_HINT) for d in DIMENSIONS]
    if task == "expr":
        return _expression(line, texts["expression"])
    return [
        line.whole(texts[unit], unit.upper(), range(2)) if texts.get(unit) else -1 for unit in UNITS
    ]


def _expression(line: Line, text: str) -> int:
    names = [name.lower() for name in EXPRESSIONS]
    if text.lower() in names:
        return names.index(text.lower())
    if not text.isdecimal():
        line.wrong(f"expression {text!r} is none of {', '.join(EXPRESSIONS)}")
    return line.whole(text, "expression", range(len(EXPRESSIONS)))


def _notes(task: str, named: list[int], frames: int) -> list[str]:
    beyond = sum(frame >= frames for frame in named)
    if beyond:
        return [
            f"{task}: {len(named)} rows for {frames} frames; {beyond} rows name frames beyond the "
            f"last, {frames - 1}, and are left out (the first frame is 0)"
        ]
    if len(named) != frames:
        return [f"{task}: {len(named)} rows for {frames} frames; the others are unlabelled"]
    return []
