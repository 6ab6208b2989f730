"""Small datasets on disk in exactly the formats of Aff-Wild2 and SEWA, with their truth in memory.

The videos are real files; with `source` they show the frames of a real clip, so that a face
detector has something to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from affcache.schema import ACTION_UNITS, EXPRESSIONS

FPS = 25
EIGHT_UNITS = (1, 2, 4, 6, 12, 15, 20, 25)
OTHER = len(EXPRESSIONS)


class Tree(NamedTuple):
    """A dataset: its root, and for each row's id and task the labels of the video's frames."""

    root: Path
    truth: dict[str, dict[str, np.ndarray]]


def write_video(path: Path, frames: int, *, fps: int = FPS, source: Path | None = None) -> Path:
    """Encode a video of so many frames: h264 in mp4 and mov, mpeg4 in avi.

    Parameters
    ----------
    source : a clip whose frames are shown, over and over; None shows a moving gradient, 64 x 48
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = _gradient() if source is None else _clip(source)
    with av.open(str(path), "w") as container:
        first = next(pictures)
        stream = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=fps)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        for k in range(frames):
            picture = av.VideoFrame.from_ndarray(first if k == 0 else next(pictures), "rgb24")
            picture.pts, picture.time_base = k, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write_va(path: Path, va: np.ndarray) -> None:
    """An Aff-Wild2 file of valence and arousal (row, 2); NaN is written as -5."""
    rows = [",".join("-5" if np.isnan(x) else repr(float(x)) for x in row) for row in va]
    _write(path, "valence,arousal", rows)


def write_expr(path: Path, expr: np.ndarray, *, other: bool = False) -> None:
    """An Aff-Wild2 file of expressions (row,), of the edition with or without Other."""
    header = ",".join((*EXPRESSIONS, "Other") if other else EXPRESSIONS)
    _write(path, header, [str(int(value)) for value in expr])


def write_au(path: Path, au: np.ndarray, units: Sequence[int] = ACTION_UNITS) -> None:
    """An Aff-Wild2 file of action units (row, unit), in the order of `units`."""
    rows = [",".join(str(int(value)) for value in row) for row in au]
    _write(path, ",".join(f"AU{unit}" for unit in units), rows)


def write_sewa(path: Path, va: np.ndarray, *, first: float = 0.0) -> None:
    """A SEWA file of valence and arousal (sample, 2) at 10 Hz, as AVEC 2019 writes it."""
    rows = [
        f"'{path.stem}';{first + k / 10:.1f};{float(arousal)!r};{float(valence)!r};0.0"
        for k, (valence, arousal) in enumerate(va)
    ]
    _write(path, "name;timestamp;arousal;valence;liking", rows)


def affwild2_tree(root: Path, *, frames: int = 40, source: Path | None = None) -> Tree:
    """Aff-Wild2 in small: six videos, eight rows, every edition of every task's header.

    ================== ===================================================================
    1-30-1280x720      va, expr, au (12 units), all train, as many rows as frames
    10-60-1280x720     va train, 2 rows too many; expr validation
    ..._right          va validation, 3 rows too few
    video7 (avi)       only _left (expr validation, with Other) and _right (au validation, 8 units)
    video10_1, _2      va train and validation, two pieces of one recording
    video99            not annotated
    ================== ===================================================================
    """
    draw = np.random.default_rng(2)
    for name in ("videos/1-30-1280x720.mp4", "videos/10-60-1280x720.mp4", "batch1/video7.avi"):
        write_video(root / name, frames, source=source)
    for name in ("videos/video10_1.mp4", "videos/video10_2.mp4", "batch2/video99.mp4"):
        write_video(root / name, frames, source=source)
    notes = root / "annotations"
    truth: dict[str, dict[str, np.ndarray]] = {}

    def va(name: str, folder: str, rows: int) -> None:
        values = _trace(draw, rows)
        values[rows // 2] = np.nan
        write_va(notes / "VA_Set" / folder / f"{name}.txt", values)
        truth.setdefault(name, {})["va"] = _fitted(values.astype(np.float32), frames, np.nan)

    def expr(name: str, folder: str, *, other: bool = False) -> None:
        values = draw.integers(-1, OTHER + other, frames)
        write_expr(notes / "EXPR_Set" / folder / f"{name}.txt", values, other=other)
        truth.setdefault(name, {})["expr"] = np.where(values == OTHER, -1, values).astype(np.int8)

    def au(name: str, folder: str, units: Sequence[int]) -> None:
        values = draw.integers(-1, 2, (frames, len(units)))
        write_au(notes / "AU_Set" / folder / f"{name}.txt", values, units)
        columns = [
            values[:, list(units).index(unit)] if unit in units else np.full(frames, -1)
            for unit in ACTION_UNITS
        ]
        truth.setdefault(name, {})["au"] = np.stack(columns, axis=1).astype(np.int8)

    va("1-30-1280x720", "Train_Set", frames)
    expr("1-30-1280x720", "Train_Set")
    au("1-30-1280x720", "Train_Set", ACTION_UNITS)
    va("10-60-1280x720", "Train_Set", frames + 2)
    expr("10-60-1280x720", "Validation_Set")
    va("10-60-1280x720_right", "Validation_Set", frames - 3)
    expr("video7_left", "Validation_Set", other=True)
    au("video7_right", "Validation_Set", EIGHT_UNITS)
    va("video10_1", "Train_Set", frames)
    va("video10_2", "Validation_Set", frames)
    return Tree(root, truth)


def sewa_tree(root: Path, *, frames: int = 50, source: Path | None = None) -> Tree:
    """SEWA in small: two training recordings, one for validation, one for the test without labels.

    Devel_DE_01 is annotated for its first half only.
    """
    draw = np.random.default_rng(3)
    truth = {}
    time = np.arange(frames) / FPS
    for name in ("Train_DE_01", "Train_HU_02", "Devel_DE_01", "Test_DE_01"):
        write_video(root / "videos" / f"{name}.avi", frames, source=source)
        if name.startswith("Test"):
            continue
        count = int(np.ceil(frames / FPS * 10)) + 1
        samples = _trace(draw, count // 2 if name.startswith("Devel") else count)
        write_sewa(root / "labels" / f"{name}.csv", samples)
        truth[name] = {"va": _interpolated(samples, time)}
    return Tree(root, truth)


def _interpolated(samples: np.ndarray, time: np.ndarray) -> np.ndarray:
    stamps = np.arange(len(samples)) / 10
    va = np.stack([np.interp(time, stamps, column) for column in samples.T], axis=1)
    va[time > stamps[-1] + 0.1 + 1e-6] = np.nan
    return va.astype(np.float32)


def _trace(draw: np.random.Generator, count: int) -> np.ndarray:
    """A smooth random path (count, 2) inside [-1, 1], with few digits as files have them."""
    steps = draw.normal(0, 0.15, (count, 2)).cumsum(axis=0)
    return np.tanh(steps).round(4)


def _fitted(values: np.ndarray, frames: int, missing: float) -> np.ndarray:
    rows = np.full((frames, *values.shape[1:]), missing, values.dtype)
    rows[: len(values)] = values[:frames]
    return rows


def _gradient() -> Iterator[np.ndarray]:
    ramp = np.add.outer(np.arange(48), np.arange(64))
    k = 0
    while True:
        yield np.repeat(((ramp + 5 * k) % 256)[:, :, None], 3, axis=2).astype(np.uint8)
        k += 1


def _clip(source: Path) -> Iterator[np.ndarray]:
    while True:
        with av.open(str(source)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")


def _write(path: Path, header: str, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
