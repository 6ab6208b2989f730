"""The simplest use of time there is, which every temporal head has to beat: a trailing mean."""

from __future__ import annotations

import numpy as np


def trailing_mean(
    values: np.ndarray, valid: np.ndarray, time: np.ndarray, seconds: float
) -> np.ndarray:
    """Mean of the valid values within the last `seconds`, the present frame included.

    Parameters
    ----------
    values : (T, k); rows that are not valid are not looked at
    valid : (T,) bool
    time : (T,) seconds, not decreasing
    seconds : the window is (t - seconds, t]

    Returns
    -------
    (T, k) float64, NaN in frames that are not valid
    """
    cumulated = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(np.where(valid[:, None], values, 0.0), axis=0, out=cumulated[1:])
    count = np.concatenate([[0], np.cumsum(valid)])
    # a hair inside the window's open end, so that equal steps count equally despite rounding
    first = np.searchsorted(time, time - seconds + 1e-6, side="left")
    end = np.arange(1, len(values) + 1)
    frames = np.maximum(count[end] - count[first], 1)
    mean = (cumulated[end] - cumulated[first]) / frames[:, None]
    return np.where(valid[:, None], mean, np.nan)
