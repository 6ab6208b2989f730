"""Labels at their own times, brought to the frames' times by a rule that is stated.

linear (valence, arousal, intensities): a frame takes the linear interpolation of the two samples
around it where both are labelled and follow each other (at most 1.5 periods apart); otherwise the
nearest labelled sample at most half a period away; otherwise no label.
nearest (expressions, action units): the nearest sample at most half a period away, the earlier of
two that are equally near; otherwise no label.
The period is the median step of the samples. Nothing is smoothed: labels at a higher rate than the
frames are sampled.
"""

from __future__ import annotations

import numpy as np

GAP = 1.5
SLACK = 1e-6
RULES = {
    "linear": "linear interpolation between samples that follow each other; otherwise the nearest "
    "labelled sample within half a period; otherwise no label",
    "nearest": "the nearest sample within half a period, the earlier of two; otherwise no label",
    "rows": "row k is frame k",
}


def period_of(at: np.ndarray) -> float:
    """The median step of rising times (sample,), 0 for a single sample."""
    return float(np.median(np.diff(at))) if len(at) > 1 else 0.0


def nearest(time: np.ndarray, at: np.ndarray, values: np.ndarray, missing: float) -> np.ndarray:
    """The nearest sample's value for each frame.

    Parameters
    ----------
    time : (frame,) seconds
    at : (sample,) seconds, rising
    values : (sample, ...) of any type
    missing : what a frame gets that has no sample near it

    Returns
    -------
    (frame, ...) of the values' type
    """
    found = np.full((len(time), *values.shape[1:]), missing, values.dtype)
    if len(at) == 0:
        return found
    which = _nearest(time, at)
    near = np.abs(at[which] - time) <= _reach(at)
    found[near] = values[which[near]]
    return found


def linear(time: np.ndarray, at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """One series interpolated at each frame.

    Parameters
    ----------
    time : (frame,) seconds
    at : (sample,) seconds, rising
    values : (sample,) float, NaN where there is no label

    Returns
    -------
    (frame,) float64, NaN where there is none
    """
    labelled = np.isfinite(values)
    found = _nearest_labelled(time, at, values, labelled)
    if len(at) < 2:
        return found
    left = np.clip(np.searchsorted(at, time, side="right") - 1, 0, len(at) - 2)
    step = at[left + 1] - at[left]
    between = (time >= at[left]) & (time <= at[left + 1])
    joined = between & (step <= GAP * period_of(at)) & labelled[left] & labelled[left + 1]
    share = (time - at[left]) / step
    straight = values[left] + share * (values[left + 1] - values[left])
    return np.where(joined, straight, found)


def _nearest_labelled(
    time: np.ndarray, at: np.ndarray, values: np.ndarray, labelled: np.ndarray
) -> np.ndarray:
    """The nearest labelled sample within half a period of all samples, else NaN."""
    found = np.full(len(time), np.nan)
    if labelled.any():
        some, which = at[labelled], _nearest(time, at[labelled])
        near = np.abs(some[which] - time) <= _reach(at)
        found[near] = values[labelled][which[near]]
    return found


def _reach(at: np.ndarray) -> float:
    return period_of(at) * (0.5 + SLACK) + SLACK * 1e-3


def _nearest(time: np.ndarray, at: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(at, time), 0, len(at) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(time - at[left] <= at[right] - time, left, right)
