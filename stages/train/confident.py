"""What a model is sure of: its decisions where their probability passes a threshold.

Paper 004, section 3.4: frames without annotations are filtered "with a high confidence value by
model prediction results"; 0.8 is the threshold that it names. What is sure becomes a label as a
person would have given it, what is not stays NaN. The paper does not say how a regression is
confident; see `sure_numbers`.
"""

from __future__ import annotations

import math

import numpy as np

NEAR = 0.25  # how close valence or arousal has to be to count as right: an eighth of their range


def sure_classes(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Expressions (N, k) as one 1 among zeros, NaN where the likeliest is below the threshold."""
    top = probability.max(axis=1, keepdims=True)
    chosen = np.arange(probability.shape[1]) == probability.argmax(axis=1)[:, None]
    return np.where(top >= threshold, chosen, np.nan).astype(np.float32)


def sure_units(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Units (N, k): 1 from the threshold on, 0 from 1 - threshold down, NaN in between."""
    sure = np.maximum(probability, 1 - probability) >= threshold
    return np.where(sure, probability >= 0.5, np.nan).astype(np.float32)


def sure_numbers(
    mean: np.ndarray, std: np.ndarray | None, other: np.ndarray | None, threshold: float
) -> np.ndarray:
    """Valence and arousal (N, 2), NaN in frames about which the model is not sure.

    With a standard deviation the confidence is the probability that the truth lies within `NEAR` of
    the mean, under the Gaussian, for the less sure of the two. Without one a frame counts as sure
    where its expression is.

    Parameters
    ----------
    std : (N, 2), or None where the head has none
    other : (N, k) what `sure_classes` said of the frames, or None

    Raises
    ------
    ValueError
        If there is neither.
    """
    if std is not None:
        nearness = np.array([math.erf(v) for v in (NEAR / (std * math.sqrt(2))).ravel().tolist()])
        sure = nearness.reshape(std.shape).min(axis=1) >= threshold
    elif other is not None:
        sure = np.isfinite(other).all(axis=1)
    else:
        raise ValueError("neither a standard deviation nor an expression to be sure by")
    return np.where(sure[:, None], mean, np.nan).astype(np.float32)
