"""Foreign labels of one video: read, checked, and brought to the frames' times.

Convention: the arrays are those of `affcache.schema.LABEL_ARRAYS`, NaN or -1 where there is no
label; valence and arousal must lie in [-1, 1] after the division by their scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import ForeignError
from affcache.foreign import resample
from affcache.foreign.discover import Source, find_one, where_of
from affcache.foreign.frames import rows_of, times_of
from affcache.foreign.rows import Block, Wanted, as_numbers, read_rows
from affcache.foreign.spec import Files, LabelSpec
from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A video's labels: arrays, the rule and the file of each, and what a person should know."""

    arrays: dict[str, np.ndarray]
    rules: dict[str, str]
    sources: dict[str, str]
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A label file's rows: their values by role, their times (None: row k is frame k)."""

    block: Block
    time: np.ndarray | None


def read_labels(specs: Sequence[LabelSpec], root: Path, video_id: str, time: np.ndarray) -> Labels:
    """The labels of a video at its frames.

    Parameters
    ----------
    time : (frame,) seconds, the features' own

    Raises
    ------
    ForeignError
        If a file is not as the spec says, or a value is outside its range.
    """
    arrays: dict[str, np.ndarray] = {}
    rules: dict[str, str] = {}
    sources: dict[str, str] = {}
    notes: list[str] = []
    names: tuple[str, ...] = ()
    for spec in specs:
        source = find_one(spec.files, root, video_id)
        what = " and ".join(spec.singles) if spec.task == "va" else spec.task
        if source is None:
            notes.append(f"{what}: there is no {where_of(spec.files, video_id)}")
            continue
        samples = _read(spec, source)
        rows = _AT_FRAMES[spec.task](spec, samples, time, source.path)
        if spec.task in arrays:
            rows = np.where(np.isnan(rows), arrays[spec.task], rows)
        arrays[spec.task] = rows
        rules[what] = _rule(spec, samples)
        sources[what] = source.path.relative_to(root).as_posix()
        if spec.task == "au_intensity":
            names = samples.block.names
        if samples.time is None and len(samples.block.lines) != len(time):
            notes.append(f"{what}: {len(samples.block.lines)} rows for {len(time)} frames")
    return Labels(arrays=arrays, rules=rules, sources=sources, names=names, notes=tuple(notes))


def _read(spec: LabelSpec, source: Source) -> Samples:
    files = spec.files
    parts = [
        rows_of(block, files, source.id, source.path)
        for block in read_rows(files.format, source.path, _wanted(spec, source.group))
    ]
    if not sum(len(part.lines) for part in parts):
        raise ForeignError(f"{source.path}: there is no row for {source.id}")
    block = Block(
        np.concatenate([part.features for part in parts]),
        parts[0].names,
        {r: np.concatenate([p.singles[r] for p in parts]) for r in parts[0].singles},
        np.concatenate([part.lines for part in parts]),
    )
    if spec.resample == "rows":
        return Samples(block=block, time=None)
    time = times_of(block, files, 0, source.path)
    falls = np.flatnonzero(np.diff(time) <= 0)
    if len(falls):
        k = int(falls[0])
        raise ForeignError(
            f"{source.path}, line {block.lines[k + 1]}: time {time[k + 1]:g} follows {time[k]:g}"
        )
    return Samples(block=block, time=time)


def _wanted(spec: LabelSpec, group: str) -> Wanted:
    files: Files = spec.files
    roles: dict[str, Any] = {
        "time": files.time if spec.resample != "rows" else None,
        "name": files.name,
        **spec.singles,
        **{f"where {column}": column for column in files.where},
    }
    return Wanted(
        columns=spec.columns,
        exclude=spec.exclude,
        singles={role: column for role, column in roles.items() if column is not None},
        group=group,
        delimiter=files.delimiter,
        header=files.header,
    )


def _affect(spec: LabelSpec, samples: Samples, time: np.ndarray, path: Path) -> np.ndarray:
    found = np.full((len(time), 2), np.nan, np.float32)
    for d, dimension in enumerate(DIMENSIONS):
        if dimension not in spec.singles:
            continue
        values = _numbers(spec, samples, dimension, path) / spec.scale
        outside = np.flatnonzero(np.abs(values) > 1 + 1e-6)
        if len(outside):
            k = int(outside[0])
            raise ForeignError(
                f"{path}, line {samples.block.lines[k]}: {dimension} {values[k] * spec.scale:g} is "
                f"outside [-{spec.scale:g}, {spec.scale:g}]; set scale, or name it in missing"
            )
        found[:, d] = _resample(spec, samples, np.clip(values, -1, 1), time, np.nan)
    return found


def _intensities(spec: LabelSpec, samples: Samples, time: np.ndarray, path: Path) -> np.ndarray:
    values = samples.block.features
    for number in spec.missing:
        values = np.where(values == number, np.nan, values)
    columns = [_resample(spec, samples, column, time, np.nan) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _expressions(spec: LabelSpec, samples: Samples, time: np.ndarray, path: Path) -> np.ndarray:
    known = [name.lower() for name in EXPRESSIONS]
    classes = [name.lower() for name in spec.classes]
    codes = np.full(len(samples.block.lines), -1, np.int8)
    for k, value in enumerate(samples.block.singles["expression"]):
        text = str(value).strip().lower()
        if text.removesuffix(".0").isdecimal():
            number = int(text.removesuffix(".0"))
            if number in spec.missing:
                continue
            name = classes[number] if number < len(classes) else None
        elif _is_missing(text, spec.missing):
            continue
        else:
            name = text if text in classes else None
        if name is None:
            raise ForeignError(
                f"{path}, line {samples.block.lines[k]}: expression {str(value)!r:.40} is none of "
                f"{', '.join(spec.classes)}; set classes or missing"
            )
        codes[k] = known.index(name) if name in known else -1
    return _resample(spec, samples, codes, time, -1)


def _units(spec: LabelSpec, samples: Samples, time: np.ndarray, path: Path) -> np.ndarray:
    codes = np.full((len(samples.block.lines), len(ACTION_UNITS)), -1, np.int8)
    for unit in spec.singles:
        values = _numbers(spec, samples, unit, path)
        wrong = np.flatnonzero(~np.isin(values, (0, 1)) & ~np.isnan(values))
        if len(wrong):
            raise ForeignError(
                f"{path}, line {samples.block.lines[wrong[0]]}: AU{unit} is {values[wrong[0]]:g}, "
                "expected 0 or 1; intensities are task = 'au_intensity'"
            )
        codes[:, ACTION_UNITS.index(int(unit))] = np.nan_to_num(values, nan=-1)
    return _resample(spec, samples, codes, time, -1)


_AT_FRAMES = {
    "va": _affect,
    "expr": _expressions,
    "au": _units,
    "au_intensity": _intensities,
}


def _numbers(spec: LabelSpec, samples: Samples, role: str, path: Path) -> np.ndarray:
    block = samples.block
    values = as_numbers(block.singles[role], spec.singles[role], path, block.lines)
    return np.where(np.isin(values, spec.missing), np.nan, values)


def _is_missing(text: str, missing: Sequence[float]) -> bool:
    try:
        return float(text) in missing or np.isnan(float(text))
    except ValueError:
        return text in ("", "?")


def _resample(
    spec: LabelSpec, samples: Samples, values: np.ndarray, time: np.ndarray, missing: float
) -> np.ndarray:
    if samples.time is None:
        found = np.full((len(time), *values.shape[1:]), missing, values.dtype)
        common = min(len(time), len(values))
        found[:common] = values[:common]
        return found
    if spec.resample == "linear":
        return resample.linear(time, samples.time, values)
    return resample.nearest(time, samples.time, values, missing)


def _rule(spec: LabelSpec, samples: Samples) -> str:
    if samples.time is None:
        return resample.RULES["rows"]
    period = resample.period_of(samples.time)
    rate = f"samples at {1 / period:.4g} Hz" if period else "a single sample"
    return f"{rate}, {resample.RULES[spec.resample]}"
