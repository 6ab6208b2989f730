"""By how much one series trails another: the lag at which they correlate best.

The delay that a network learns in a layer is not the delay of its output: whatever looks back only
(an LSTM, a filter) trails on its own, and the layer makes up for that, too. What counts is the
output's, measured here by cross-correlation, as challenges find the delay of annotators.

Convention: a positive lag says that the second series comes later: later(t) ~ earlier(t - lag).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from affcache.targets import CONTINUOUS
from affcache.windows import Sequence as FrameSequence
from stages.train.heads import Sizes

REACH = 100  # frames, both ways: as far as adaptive alignment looks
COARSE = 5  # frames between the lags that are tried first


class Lag(NamedTuple):
    """Where the correlation is highest: in frames (a fraction, by parabola), and how high it is."""

    frames: float
    correlation: float


def output_lag(
    earlier: Sequence[np.ndarray], later: Sequence[np.ndarray], reach: int = REACH
) -> Lag:
    """Lag of one set of series behind another, over all of them together.

    Parameters
    ----------
    earlier, later : a series (T,) of each sequence; NaN where a frame does not count
    reach : greatest lag tried, in frames, both ways

    Returns
    -------
    NaN for both if nothing varies together at any lag. Correlations are of all pairs of frames at
    a lag together, so differences between sequences count, but tell nothing about the lag.
    """
    coarse = np.arange(-reach, reach + 1, COARSE)
    heights = correlations(earlier, later, coarse)
    if not np.isfinite(heights).any():
        return Lag(np.nan, np.nan)
    lags = coarse[np.nanargmax(heights)] + np.arange(-COARSE, COARSE + 1)
    heights = correlations(earlier, later, lags)
    best = int(np.nanargmax(heights))
    return Lag(float(lags[best] + _peak(heights[best - 1 : best + 2])), float(heights[best]))


def lag_rows(
    sizes: Sizes, sequences: Sequence[FrameSequence], said: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """Lag of predictions behind their labels, a row per target of the tasks that are numbers.

    No lag above a fifth of the sequences' median length is tried: where few frames overlap,
    drifting series correlate by chance. The first and last REACH frames of a sequence do not count
    where it has twice as many others: a delayed output has nothing to say there, and whatever
    stands in for it has a lag of its own.

    Parameters
    ----------
    said : a prediction (T, K) of each sequence; frames without a face or a label do not count

    Returns
    -------
    Rows of "task", "target", "lag_frames", "lag_seconds" and "correlation" there: a positive lag
    says that the output comes after the label, as it would from a head that learnt too long a
    delay. No row where the sequences are too short
    """
    reach = min(REACH, int(np.median([len(s) for s in sequences])) // 5)
    rows: list[dict[str, Any]] = []
    if reach < COARSE:
        return rows
    for task, columns in sizes.targets.items():
        for name in columns if task in CONTINUOUS else ():
            k = sizes.columns(task).start + columns.index(name)
            labels = [_inner(s.labels[:, k]) for s in sequences]
            pairs = zip(sequences, said, strict=True)
            output = [_inner(np.where(s.valid, own[:, k], np.nan)) for s, own in pairs]
            lag = output_lag(labels, output, reach)
            rows.append(
                {
                    "task": task,
                    "target": name,
                    "lag_frames": lag.frames,
                    "lag_seconds": lag.frames / sizes.fps,
                    "correlation": lag.correlation,
                }
            )
    return rows


def correlations(
    earlier: Sequence[np.ndarray], later: Sequence[np.ndarray], lags: np.ndarray
) -> np.ndarray:
    """Pearson's correlation of earlier(t - lag) with later(t) for every lag; NaN where undefined.

    Parameters
    ----------
    earlier, later : as for `output_lag`
    lags : whole frames

    Returns
    -------
    As many correlations as lags
    """
    return np.array([_correlation(earlier, later, int(lag)) for lag in lags])


def _inner(series: np.ndarray) -> np.ndarray:
    return series[REACH:-REACH] if len(series) >= 4 * REACH else series


def _correlation(earlier: Sequence[np.ndarray], later: Sequence[np.ndarray], lag: int) -> float:
    pairs = [_overlap(a, b, lag) for a, b in zip(earlier, later, strict=True)]
    x, y = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known].astype(np.float64), y[known].astype(np.float64)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _overlap(earlier: np.ndarray, later: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (earlier(t - lag), later(t)) for every t that has both."""
    if lag < 0:
        y, x = _overlap(later, earlier, -lag)
        return x, y
    if lag == 0:
        return earlier, later
    return earlier[:-lag], later[lag:]


def _peak(three: np.ndarray) -> float:
    """Vertex of the parabola through the highest value and its neighbours; 0 at an end."""
    if len(three) < 3 or not np.isfinite(three).all():
        return 0.0
    bend = three[0] - 2 * three[1] + three[2]
    return float(0.5 * (three[0] - three[2]) / bend) if bend < 0 else 0.0
