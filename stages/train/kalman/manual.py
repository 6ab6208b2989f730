"""Manual alignment: the delay at which the features tell most about the labels (paper 003, III.C).

As the challenges did it ([22], [23] there): a grid of delays, and at each the linear correlation of
every feature with the labels, over the training set alone. The best has the highest mean of r^2
over features. First every fifth frame, then every frame around the best of those.

Convention: a positive delay says that annotations trail the face: x_{t-d} goes with y_t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from affcache.windows import Sequence as FrameSequence

COARSE = 5


def best_delays(sequences: Sequence[FrameSequence], reach: int) -> list[int]:
    """The delay of every target in whole frames, from -reach to reach.

    Parameters
    ----------
    sequences : of the training split; those without labels tell nothing
    reach : greatest delay tried
    """
    coarse = np.arange(-reach, reach + 1, COARSE)
    first = [int(coarse[row.argmax()]) for row in informativeness(sequences, coarse).T]
    around = {lag + k for lag in first for k in range(1 - COARSE, COARSE)}
    fine = np.array(sorted(lag for lag in around if abs(lag) <= reach))
    scores = informativeness(sequences, fine)
    near = abs(fine[:, None] - np.array(first)) < COARSE
    return [int(fine[row.argmax()]) for row in np.where(near, scores, -1).T]


def informativeness(sequences: Sequence[FrameSequence], lags: np.ndarray) -> np.ndarray:
    """Mean over features of r^2 between x_{t-lag} and y_t: (lags, targets), 0 where undefined."""
    totals = None
    for sequence in sequences:
        sums = np.stack(moments(sequence, lags)).astype(np.float64)
        totals = sums if totals is None else totals + sums
    if totals is None:
        raise ValueError("no sequence to search for a delay in")
    n, x, xx, y, yy, xy = totals
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = xy / n - x * y / n**2
        spread = (xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2)
        squares = np.where(spread > 0, covariance**2 / spread, 0.0)
    scores: np.ndarray = squares.mean(0).reshape(len(lags), -1)
    return scores


def moments(sequence: FrameSequence, lags: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums over the pairs (x_{t-lag}, y_t) that both exist: of 1, x, x^2, y, y^2 and x y.

    Returns
    -------
    Six arrays (features, lags * targets)
    """
    seen = sequence.valid[:, None]
    features = np.where(seen, sequence.features, 0).astype(np.float32)
    known = np.isfinite(sequence.labels)
    labels = np.where(known, sequence.labels, 0).astype(np.float32)
    there = _behind(known.astype(np.float32), lags)
    truth = _behind(labels, lags)
    width = features.shape[1]

    def everywhere(row: np.ndarray) -> np.ndarray:
        return np.broadcast_to(row, (width, row.shape[-1]))

    valid = sequence.valid.astype(np.float32)
    return (
        everywhere(valid @ there),
        features.T @ there,
        np.square(features).T @ there,
        everywhere(valid @ truth),
        everywhere(valid @ np.square(truth)),
        features.T @ truth,
    )


def _behind(rows: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Rows (T, K) of t + lag beside each t, 0 outside: (T, lags * K)."""
    frames = len(rows)
    out = np.zeros((frames, len(lags), rows.shape[1]), rows.dtype)
    for i, lag in enumerate(lags.tolist()):
        if abs(lag) < frames:
            first, last = max(0, -lag), min(frames, frames - lag)
            out[first:last, i] = rows[first + lag : last + lag]
    return out.reshape(frames, -1)
