"""Foreign rows to a cache's frames: which have a face, when they are, and none left out.

Convention: a row without a face, with too little confidence, or with a feature missing is a frame
without a face (valid False, features zero). Where frame numbers jump, the frames between are made,
without a face, at times evenly spaced between their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affcache.errors import ForeignError
from affcache.foreign.rows import Block, Wanted, as_numbers
from affcache.foreign.spec import FeatureSpec, Files

LARGEST_GAP = 100_000
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """Where the block before ended: rows so far, first and last frame number, last time."""

    rows: int = 0
    first: float = 0.0
    frame: float | None = None
    time: float | None = None


def wanted_of(spec: FeatureSpec, group: str) -> Wanted:
    """The columns that the features' files are read for."""
    singles = {
        "time": spec.files.time,
        "frame": spec.frame,
        "valid": spec.valid,
        "confidence": spec.confidence,
        "name": spec.files.name,
        **{f"where {column}": column for column in spec.files.where},
    }
    return Wanted(
        columns=spec.columns,
        exclude=spec.exclude,
        singles={role: column for role, column in singles.items() if column is not None},
        group=group,
        delimiter=spec.files.delimiter,
        header=spec.files.header,
    )


def frames_of(
    blocks: Iterator[Block], spec: FeatureSpec, video_id: str, path: Path
) -> Iterator[dict[str, np.ndarray]]:
    """Blocks of a file as blocks of cache arrays: features, valid, time and, if there is, score.

    Raises
    ------
    ForeignError
        If times or frame numbers do not rise, a feature does not fit float16, or a row is another
        video's.
    """
    last = Last()
    for whole in blocks:
        block = rows_of(whole, spec.files, video_id, path)
        if len(block.lines) == 0:
            continue
        frame = None
        if spec.frame is not None:
            frame = as_numbers(block.singles["frame"], spec.frame, path, block.lines)
            _rising(frame, last.frame, f"the frame number {spec.frame}", block, path)
            last = last if last.rows else replace(last, first=float(frame[0]))
        arrays = _arrays(block, spec, last, frame, path)
        time = arrays["time"]
        _rising(time, last.time, "the time", block, path)
        if frame is not None:
            arrays = _fill_gaps(arrays, frame, last, path)
        last = Last(
            rows=last.rows + len(time),
            first=last.first,
            frame=None if frame is None else float(frame[-1]),
            time=float(time[-1]),
        )
        yield arrays


def rows_of(block: Block, files: Files, video_id: str, path: Path) -> Block:
    """The rows that `where` asks for, all of which must be the video's own."""
    keep = np.ones(len(block.lines), bool)
    for column, value in files.where.items():
        keep &= as_numbers(block.singles[f"where {column}"], column, path, block.lines) == value
    block = Block(
        block.features[keep],
        block.names,
        {role: values[keep] for role, values in block.singles.items()},
        block.lines[keep],
    )
    if "name" in block.singles:
        names = [_text(name).strip("'") for name in block.singles["name"]]  # AVEC's CSV has quotes
        other = [k for k, name in enumerate(names) if name != video_id]
        if other:
            name = names[other[0]]
            raise ForeignError(
                f"{path}, line {block.lines[other[0]]}: names {name!r:.80}, expected {video_id!r}; "
                "is it another video's file? (without `name` in the spec it is not compared)"
            )
    return block


def times_of(block: Block, files: Files, before: int, path: Path) -> np.ndarray:
    """Seconds (n,) of a block's rows: its column, or the row's number over the rate."""
    if files.time is None:
        return (before + np.arange(len(block.lines))) / (files.fps or 1.0)
    time = as_numbers(block.singles["time"], files.time, path, block.lines) * files.seconds
    lost = np.flatnonzero(~np.isfinite(time))
    if len(lost):
        raise ForeignError(f"{path}, line {block.lines[lost[0]]}: there is no time")
    return time


def _arrays(
    block: Block, spec: FeatureSpec, last: Last, frame: np.ndarray | None, path: Path
) -> dict[str, np.ndarray]:
    features = block.features
    valid = ~np.isnan(features).any(axis=1)
    if spec.valid is not None:
        said = as_numbers(block.singles["valid"], spec.valid, path, block.lines)
        valid &= np.nan_to_num(said) != 0
    if frame is not None and spec.files.time is None and spec.files.fps is not None:
        arrays = {"time": (frame - last.first) / spec.files.fps}
    else:
        arrays = {"time": times_of(block, spec.files, last.rows, path)}
    if spec.confidence is not None:
        score = as_numbers(block.singles["confidence"], spec.confidence, path, block.lines)
        valid &= np.nan_to_num(score, nan=-np.inf) >= spec.least_confidence
        arrays["score"] = np.where(valid, score, np.nan)
    large = np.argwhere((np.abs(features) > LARGEST) & valid[:, None])
    if len(large):
        row, column = large[0]
        raise ForeignError(
            f"{path}, line {block.lines[row]}: {block.names[column]} is {features[row, column]:g}, "
            f"float16 ends at {LARGEST:,.0f}; scale that column, or leave it out with `exclude`"
        )
    arrays["valid"] = valid
    arrays["features"] = np.where(valid[:, None], features, 0.0)
    return arrays


def _rising(values: np.ndarray, before: float | None, what: str, block: Block, path: Path) -> None:
    steps = np.diff(values, prepend=-np.inf if before is None else before)
    wrong = np.flatnonzero(~(steps > 0))
    if len(wrong):
        k = int(wrong[0])
        previous = values[k - 1] if k else before
        raise ForeignError(
            f"{path}, line {block.lines[k]}: {what} {values[k]:g} follows {previous:g}, but must "
            "rise; are several faces in one file? (choose one: [features.where] face_id = 0)"
        )


def _fill_gaps(
    arrays: dict[str, np.ndarray], frame: np.ndarray, last: Last, path: Path
) -> dict[str, np.ndarray]:
    """Rows for the frame numbers that are left out."""
    first = frame[0] if last.frame is None else last.frame + 1
    there = frame - first
    if (there != np.floor(there)).any() or np.diff(there, prepend=-1).max() > LARGEST_GAP:
        raise ForeignError(f"{path}: frame numbers are not whole, or {LARGEST_GAP} are left out")
    rows = there.astype(np.int64)
    count = int(rows[-1]) + 1
    if count == len(frame):
        return arrays
    filled = {
        name: np.full((count, *array.shape[1:]), np.nan if name == "score" else 0, array.dtype)
        for name, array in arrays.items()
    }
    for name, array in arrays.items():
        filled[name][rows] = array
    known = np.concatenate([[-1], rows]) if last.time is not None else rows
    times = [last.time, *arrays["time"]] if last.time is not None else arrays["time"]
    filled["time"] = np.interp(np.arange(count), known, times)
    return filled


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
