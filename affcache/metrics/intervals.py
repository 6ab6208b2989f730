"""How sure a difference is: Student's t interval over people, who are the independent ones.

Frames and clips of one person resemble each other; people are what a claim generalises over.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A mean difference and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def paired_interval(differences: ArrayLike, level: float = 0.95) -> Interval:
    """Interval for the mean of paired differences: mean -+ t s / sqrt(n), n - 1 degrees of freedom.

    Parameters
    ----------
    differences : (n,) one number a person, n >= 2
    level : coverage, in (0, 1)

    Raises
    ------
    ValueError
        With fewer than two people nothing can be said of their spread.

    >>> [round(x, 3) for x in paired_interval([0.1, 0.2, 0.3])]
    [0.2, -0.048, 0.448]
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < 2:
        raise ValueError(f"an interval over people needs two or more, got shape {d.shape}")
    mean, error = float(d.mean()), float(d.std(ddof=1)) / math.sqrt(len(d))
    half = t_quantile((1 + level) / 2, len(d) - 1) * error
    return Interval(mean, mean - half, mean + half)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t by bisection of its finite series (see `_central`).

    Parameters
    ----------
    probability : in (0, 1)
    freedom : degrees of freedom, a whole number >= 1

    >>> round(t_quantile(0.975, 10), 4)
    2.2281
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"no t quantile at {probability} with {freedom} degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        below = _central(middle, freedom) < 2 * probability - 1
        low, high = (middle, high) if below else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _central(angle: float, freedom: int) -> float:
    """P(|t| < sqrt(freedom) tan(angle)): Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd and freedom > 1 else float(not odd)
    for i in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (i - 1) / i
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
