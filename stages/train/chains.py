"""What is done to a run's predictions after the head: five steps, each kept only if it helps.

Paper 002, section V.B (median filter, smoothing) and the chain that it is part of in the
challenges: centring, scaling and a shift in time. Every step is fitted on the validation set,
target by target, and kept if it improves the score there; then it is frozen, and applied to
anything else without a look at its labels.

Convention: a chain is a list of steps in the order of `STEPS`, each {"step", "target", "value"}.
Widths and shifts are in frames; a positive shift makes predictions later. Frames without a
prediction (NaN) are passed over and stay without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affcache.arrays import read_json

Rows = Sequence[np.ndarray]  # one (T,) series a video
Score = Callable[[Rows], float]
FILE = "postprocess.json"  # in a run's folder
STEPS = ("median", "smooth", "centre", "scale", "shift")
WIDTHS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds, tried for both filters
SHIFTS = (0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 4.0)  # seconds, tried both ways
LEAST = 1e-9  # improvement that counts


def fit(said: Rows, truth: Rows, score: Score, fps: float) -> list[dict[str, Any]]:
    """The steps of one target that improve its score, in their order, without its name.

    Parameters
    ----------
    said : predictions of the validation set, NaN where there is none
    truth : its labels, NaN where there is none
    score : what is to be improved, of such predictions
    fps : frames per second

    Returns
    -------
    A dictionary per step: "step", "value" (frames, or what is added or multiplied), "about" (the
    mean that scaling leaves where it is), "before" and "after" (the score).
    """
    chain: list[dict[str, Any]] = []
    best = score(said)
    for step in STEPS:
        tried = [{"step": step, **values} for values in candidates(step, said, truth, fps)]
        scored = [(score([apply_step(one, rows) for rows in said]), one) for one in tried]
        if not scored:
            continue
        after, chosen = max(scored, key=lambda pair: pair[0])
        if after > best + LEAST:
            said = [apply_step(chosen, rows) for rows in said]
            chain.append({**chosen, "before": best, "after": after})
            best = after
    return chain


def candidates(step: str, said: Rows, truth: Rows, fps: float) -> list[dict[str, float]]:
    """What a step may be set to; centring and scaling have one value, which the labels decide."""
    if step in ("median", "smooth"):
        widths = sorted({2 * round(seconds * fps / 2) + 1 for seconds in WIDTHS} - {1})
        return [{"value": width} for width in widths]
    if step == "shift":
        frames = sorted({round(seconds * fps) for seconds in SHIFTS} - {0})
        return [{"value": sign * n} for n in frames for sign in (1, -1)]
    pairs = [(p, y, np.isfinite(p) & np.isfinite(y)) for p, y in zip(said, truth, strict=True)]
    predicted, labels = (
        np.concatenate([pair[side][pair[2]] for pair in pairs]).astype(np.float64)
        for side in (0, 1)
    )
    if len(predicted) < 2:
        return []
    if step == "centre":
        return [{"value": float(labels.mean() - predicted.mean())}]
    if predicted.std() == 0:
        return []
    return [{"value": float(labels.std() / predicted.std()), "about": float(predicted.mean())}]


def stored(folder: Path) -> list[dict[str, Any]] | None:
    """The frozen steps in a run's folder that are for frames; None where none were fitted."""
    path = folder / FILE
    if not path.exists():
        return None
    return [step for step in read_json(path)["steps"] if step["step"] in STEPS]


def apply_chain(chain: Sequence[Mapping[str, Any]], rows: np.ndarray) -> np.ndarray:
    """A video's predictions (T, K) after the chain; steps say which column they are for."""
    found = np.array(rows, np.float64)
    for step in chain:
        found[:, step["column"]] = apply_step(step, found[:, step["column"]])
    return found


def apply_step(step: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    """One step on one series (T,)."""
    kind, value = step["step"], step["value"]
    if kind == "median":
        return over_windows(rows, int(value), np.nanmedian)
    if kind == "smooth":
        return over_windows(rows, int(value), np.nanmean)
    if kind == "centre":
        return np.asarray(rows + value)
    if kind == "scale":
        return np.asarray(step["about"] + value * (rows - step["about"]))
    if kind == "shift":
        return shifted(rows, int(value))
    raise ValueError(f"step {kind!r}, expected one of {STEPS}")


def over_windows(rows: np.ndarray, width: int, what: Callable[..., Any]) -> np.ndarray:
    """A statistic of the frames around each one, `width` (odd) in all, fewer at the ends.

    >>> over_windows(np.array([0.0, 9.0, 0.0, np.nan, 3.0]), 3, np.nanmedian).tolist()
    [4.5, 0.0, 4.5, nan, 3.0]
    """
    found = np.full(len(rows), np.nan)
    there = np.isfinite(rows)
    if there.any():
        around = np.pad(np.asarray(rows, np.float64), width // 2, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(around, width)
        found[there] = what(windows[there], axis=1)
    return found


def shifted(rows: np.ndarray, frames: int) -> np.ndarray:
    """Predictions that come so many frames later (earlier, if negative); the ends are held.

    A frame whose source has no prediction takes the last one before it, or else the next.

    >>> shifted(np.array([1.0, np.nan, 3.0, 4.0]), 1).tolist()
    [1.0, nan, 1.0, 3.0]
    """
    there = np.isfinite(rows)
    if not there.any():
        return np.array(rows, np.float64)
    known = np.flatnonzero(there)
    last = np.maximum.accumulate(np.where(there, np.arange(len(rows)), known[0]))
    held = np.asarray(rows, np.float64)[last]
    source = np.clip(np.arange(len(rows)) - frames, 0, len(rows) - 1)
    return np.where(there, held[source], np.nan)
