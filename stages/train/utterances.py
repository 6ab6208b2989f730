"""One value for a whole utterance, as OMG-Emotion is labelled (paper 002, section V.B).

An utterance is split into sequences; the median of what is predicted in each is averaged over them,
and the values of one person's utterances, in their order, may be smoothed.

Convention: a video of the cache is an utterance; a person's utterances follow each other in the
order of their ids. An utterance's label is the mean of its frames' labels, which are all the same
where the annotators gave it one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

WIDTHS = (3, 5, 7)  # utterances, tried for smoothing
Rows = Sequence[np.ndarray]  # one (T,) series an utterance


def estimate(rows: np.ndarray, length: int) -> float:
    """The mean of the medians of an utterance's sequences.

    Parameters
    ----------
    rows : (T,) predictions, NaN where there is none
    length : frames of a sequence; the last one may be shorter

    Returns
    -------
    NaN where there is nothing at all; sequences without a single value are left out.

    >>> estimate(np.array([0.0, 0.0, 9.0, 1.0, np.nan]), 3)
    0.5
    """
    parts = [rows[first : first + length] for first in range(0, len(rows), length)]
    medians = [float(np.median(own)) for part in parts if len(own := part[np.isfinite(part)])]
    return float(np.mean(medians)) if medians else float("nan")


def label(rows: np.ndarray) -> float:
    """The mean of the labels (T,) that there are; NaN where there is none."""
    there = rows[np.isfinite(rows)]
    return float(there.mean()) if len(there) else float("nan")


def smoothed(values: np.ndarray, people: Sequence[str], width: int) -> np.ndarray:
    """Values (V,) averaged over `width` (odd) neighbouring utterances of the same person.

    >>> smoothed(np.array([0.0, 3.0, 6.0, 9.0]), ["a", "a", "a", "b"], 3).tolist()
    [1.5, 3.0, 4.5, 9.0]
    """
    found = np.array(values, np.float64)
    for person in {*people}:
        own = np.flatnonzero([p == person for p in people])
        for place, at in enumerate(own):
            near = values[own[max(place - width // 2, 0) : place + width // 2 + 1]]
            if np.isfinite(values[at]):
                found[at] = np.mean(near[np.isfinite(near)])
    return found


def fit_smoothing(
    values: np.ndarray, people: Sequence[str], score: Callable[[np.ndarray], float]
) -> dict[str, Any] | None:
    """The width that improves the score of values (V,) most, as a step; None if none does."""
    before = score(values)
    after, width = max((score(smoothed(values, people, width)), width) for width in WIDTHS)
    if after <= before:
        return None
    return {"step": "utterances", "value": width, "before": before, "after": after}
