"""Whether stated uncertainty is true: how often intervals hold, and how surprising the truth is.

A prediction is a Gaussian per value. Coverage of central intervals asks whether its width is right;
the negative log-likelihood and the continuous ranked probability score (Gneiting and Raftery 2007,
eq. 21) weigh width and error together, and are least in expectation for the true distribution.

Convention: `std` is a standard deviation, not a variance; arrays are flat, only values that count.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

LEVELS = (0.5, 0.8, 0.95)
CALIBRATION = ("coverage_50", "coverage_80", "coverage_95", "nll", "crps", "std")


def interval_coverage(truth: ArrayLike, mean: ArrayLike, std: ArrayLike, level: float) -> float:
    """Share of values inside the central interval of a probability.

    Parameters
    ----------
    truth, mean, std : (N,) numbers, N >= 1, std > 0
    level : probability of the interval, in (0, 1)

    Returns
    -------
    In [0, 1]; `level` itself in expectation if the Gaussians are right. NaN if a number is NaN.

    >>> interval_coverage([0.0, 1.0], [0.0, 0.0], [1.0, 0.5], 0.95)
    0.5
    """
    if not 0 < level < 1:
        raise ValueError(f"an interval of probability {level}: expected one between 0 and 1")
    error = _standardised(truth, mean, std)[0]
    if np.isnan(error).any():
        return math.nan
    return float(np.mean(np.abs(error) <= NormalDist().inv_cdf((1 + level) / 2)))


def gaussian_nll(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> float:
    """Mean negative log-likelihood in nats: 1/2 ((y - m) / s)^2 + log s + 1/2 log 2 pi.

    >>> round(gaussian_nll([0.0], [0.0], [1.0]), 4)
    0.9189
    """
    error, s = _standardised(truth, mean, std)
    return float(np.mean(0.5 * error**2 + np.log(s)) + 0.5 * math.log(2 * math.pi))


def gaussian_crps(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> float:
    """Mean continuous ranked probability score, in the unit of the values; 0 is perfect.

    The integral of (F(x) - [x >= y])^2 over x, which for a Gaussian is
    s (e (2 Phi(e) - 1) + 2 phi(e) - 1 / sqrt(pi)) with e = (y - m) / s. For s to 0 it becomes the
    mean absolute error, so it compares a distribution with a bare prediction in one unit.

    >>> round(gaussian_crps([0.0], [0.0], [1.0]), 4)
    0.2337
    """
    error, s = _standardised(truth, mean, std)
    inside = np.array([math.erf(e) for e in (error / math.sqrt(2)).tolist()])  # 2 Phi - 1
    density = np.exp(-0.5 * error**2) / math.sqrt(2 * math.pi)
    return float(np.mean(s * (error * inside + 2 * density - 1 / math.sqrt(math.pi))))


def calibration(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> dict[str, float]:
    """Everything above by the names of `CALIBRATION`, and "std", the mean deviation stated.

    >>> sorted(calibration([0.1], [0.0], [1.0]))
    ['coverage_50', 'coverage_80', 'coverage_95', 'crps', 'nll', 'std']
    """
    values = [
        *(interval_coverage(truth, mean, std, level) for level in LEVELS),
        gaussian_nll(truth, mean, std),
        gaussian_crps(truth, mean, std),
        float(np.mean(np.asarray(std, np.float64))),
    ]
    return dict(zip(CALIBRATION, values, strict=True))


def _standardised(
    truth: ArrayLike, mean: ArrayLike, std: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Errors in units of their deviation, and the deviations."""
    y, m, s = (np.asarray(values, np.float64) for values in (truth, mean, std))
    if y.ndim != 1 or not len(y) or not y.shape == m.shape == s.shape:
        raise ValueError(
            f"calibration takes three series of one length, got {y.shape}, {m.shape}, {s.shape}"
        )
    if (s <= 0).any():
        raise ValueError(f"a standard deviation of {s.min():g}: expected only positive ones")
    return (y - m) / s, s
