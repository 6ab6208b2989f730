"""Aff-Wild2 (Kollias and Zafeiriou): one text file per task and face, one row per video frame.

Valence and arousal: header `valence,arousal`, -5 where a frame has none. Expressions: header
`Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise`, later editions add `,Other`; a row is the
number of one of them, -1 where there is none. Action units: header `AU1,AU2,...`, 8 or 12 of them;
0 or 1, -1 where there is none.

Two things have no place in the cache's schema and are left out with a note: `Other` is none of the
seven expressions, so its frames are unlabelled (-1); AU20 of the edition with 8 action units is
none of the twelve. Units that a file does not have are -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from affcache.labels.annotation import Annotation, fit
from affcache.labels.lines import Line, read_lines
from affcache.manifest import Row
from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS

RULE = "row k of the file is frame k of the video"
NO_AFFECT = -5.0
OTHER = len(EXPRESSIONS)
OUTSIDE = (20,)

Parsed = tuple[np.ndarray, list[str]]


def read(row: Row, time: np.ndarray, scale: float = 1.0) -> Annotation:
    """The annotations of one face, one row per frame (see `affcache.labels.read`).

    The format fixes the scale, so `scale` is 1. A file with more or fewer rows than the video has
    frames is no error: the common part is kept and a note says both numbers.
    """
    arrays, notes = {}, []
    for task, path in row.annotations.items():
        header, *lines = read_lines(path, ",")
        rows, said = _PARSERS[task](header, lines)
        arrays[task], differing = fit(task, rows, len(time))
        notes += [f"{task}: {note}" for note in said] + differing
    return Annotation(arrays=arrays, rule=RULE, notes=tuple(notes))


def _affect(header: Line, lines: Sequence[Line]) -> Parsed:
    if header.fields != DIMENSIONS:
        header.wrong(f"header {','.join(header.fields)!r:.80}, expected {','.join(DIMENSIONS)!r}")
    rows = np.full((len(lines), 2), np.nan, np.float32)
    for k, line in enumerate(lines):
        line.expect(2, DIMENSIONS)
        values = [line.real(text, name) for text, name in zip(line.fields, DIMENSIONS, strict=True)]
        for d, value in enumerate(values):
            if value != NO_AFFECT:
                rows[k, d] = line.affect(line.fields[d], DIMENSIONS[d], hint="-5 means none")
    return rows, []


def _expression(header: Line, lines: Sequence[Line]) -> Parsed:
    names = (*EXPRESSIONS, "Other")
    if header.fields not in (EXPRESSIONS, names):
        header.wrong(
            f"header {','.join(header.fields)!r:.80}, expected {','.join(EXPRESSIONS)!r}, "
            "with or without ',Other'"
        )
    allowed = range(-1, len(header.fields))
    rows = np.empty(len(lines), np.int8)
    for k, line in enumerate(lines):
        line.expect(1, ("expression",))
        rows[k] = line.whole(line.fields[0], "expression", allowed)
    others = rows == OTHER
    rows[others] = -1
    if others.any():
        return rows, [f"{others.sum()} frames of 'Other' are unlabelled, it is none of the seven"]
    return rows, []


def _units(header: Line, lines: Sequence[Line]) -> Parsed:
    units = _unit_numbers(header)
    rows = np.full((len(lines), len(ACTION_UNITS)), -1, np.int8)
    columns = [(k, ACTION_UNITS.index(u)) for k, u in enumerate(units) if u in ACTION_UNITS]
    for k, line in enumerate(lines):
        line.expect(len(units), header.fields)
        values = [
            line.whole(text, name, range(-1, 2))
            for text, name in zip(line.fields, header.fields, strict=True)
        ]
        for source, target in columns:
            rows[k, target] = values[source]
    dropped = [f"AU{unit}" for unit in units if unit not in ACTION_UNITS]
    return rows, [f"{', '.join(dropped)} is none of the twelve and left out"] if dropped else []


def _unit_numbers(header: Line) -> list[int]:
    units = []
    for name in header.fields:
        found = re.fullmatch(r"AU(\d+)", name)
        if found is None or int(found[1]) not in (*ACTION_UNITS, *OUTSIDE):
            known = ",".join(f"AU{unit}" for unit in ACTION_UNITS)
            header.wrong(f"header names {name!r}, expected action units out of {known} and AU20")
        units.append(int(found[1]))
    if len(set(units)) != len(units):
        header.wrong("header names an action unit twice")
    return units


_PARSERS: dict[str, Callable[[Line, Sequence[Line]], Parsed]] = {
    "va": _affect,
    "expr": _expression,
    "au": _units,
}
