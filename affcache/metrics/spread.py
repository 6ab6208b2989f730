"""Predictions at a reference level and spread: what is left of a score when scale is forgiven.

Regressions shrink towards the mean, some more than others, and CCC punishes it. Matching everyone's
spread to the training labels' by one rule compares what they know instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def match_spread(prediction: ArrayLike, reference_mean: float, reference_std: float) -> np.ndarray:
    """Shift and stretch a series to a mean and a standard deviation (over N).

    Parameters
    ----------
    prediction : (N,) numbers, N >= 1
    reference_mean, reference_std : of the training labels, never of the labels scored against

    Returns
    -------
    (N,) float64; a constant prediction becomes the reference mean. Values may leave [-1, 1].

    >>> match_spread([1.0, 3.0], 0.0, 0.5).tolist()
    [-0.5, 0.5]
    """
    p = np.asarray(prediction, np.float64)
    if p.ndim != 1 or not len(p) or reference_std < 0:
        raise ValueError(f"cannot bring a series of shape {p.shape} to spread {reference_std}")
    away = p - p[0]
    away = away - away.mean()
    spread = np.sqrt(np.mean(away**2))
    matched: np.ndarray = reference_mean + away * (reference_std / spread if spread > 0 else 0.0)
    return matched
