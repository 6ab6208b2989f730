"""One table for valence and arousal: every metric per target and their mean, pooled or averaged.

"frames" scores all frames of all sequences as one series, as the challenges do; "sequences" scores
each and averages, which asks whether the course within a video is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from affcache.metrics.concordance import ccc, pcc, rmse
from affcache.schema import DIMENSIONS

METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {"ccc": ccc, "pcc": pcc, "rmse": rmse}
OVER = ("frames", "sequences")


def summarise(
    truths: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    over: str = "frames",
    targets: Sequence[str] = DIMENSIONS,
) -> dict[str, float]:
    """Every metric per target and its mean over targets.

    Parameters
    ----------
    truths, predictions : one (frames, targets) array a sequence, only frames that count
    over : "frames" or "sequences"; the latter leaves out sequences of fewer than two frames
    targets : what the columns are called

    Returns
    -------
    "ccc_valence", "ccc_arousal", "ccc_mean", "pcc_valence", ...; the mean over sequences where
    over is "sequences".

    Raises
    ------
    ValueError
        If there is nothing to score or shapes differ.
    """
    if over not in OVER:
        raise ValueError(f"over is {over!r}, expected one of {OVER}")
    pairs = list(zip(truths, predictions, strict=True))
    if over == "frames" and pairs:
        pairs = [(np.concatenate([t for t, _ in pairs]), np.concatenate([p for _, p in pairs]))]
    pairs = [(t, p) for t, p in pairs if len(t) > 1]
    if not pairs or any(t.shape != p.shape or t.shape[1:] != (len(targets),) for t, p in pairs):
        raise ValueError(f"nothing to score for {tuple(targets)}, or shapes that differ")
    table: dict[str, float] = {}
    for name, metric in METRICS.items():
        scores = [
            float(np.mean([metric(t[:, d], p[:, d]) for t, p in pairs]))
            for d in range(len(targets))
        ]
        table |= {f"{name}_{d}": s for d, s in zip(targets, scores, strict=True)}
        table[f"{name}_mean"] = float(np.mean(scores))
    return table
