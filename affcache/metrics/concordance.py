"""Concordance: how well two series agree in shape, scale and level (paper 000, App. B, eq. 3).

Convention: statistics divide by N, so the concordance of a series with itself is exactly 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Moments(NamedTuple):
    """Two series' variances and covariance over N, and the difference of their means."""

    truth: float
    prediction: float
    covariance: float
    shift: float


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Lin's concordance correlation coefficient, in [-1, 1].

    2 cov / (var + var + (mean - mean)^2), every statistic over N (paper 000, App. B, eq. 3).
    torchmetrics divides variance and covariance by N - 1 but not the squared difference of means,
    so where the means differ its values lie a little further from 0.

    Parameters
    ----------
    truth, prediction : (N,) numbers, N >= 1

    Returns
    -------
    1 for a series with itself, constant or not; 0 if one series or both are constant but the two
    are not the same (nothing varies together); NaN if a value is NaN or infinite.

    >>> ccc([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])
    1.0
    >>> round(ccc([0.0, 0.5, 1.0], [0.5, 1.0, 1.5]), 3)
    0.571
    """
    m = moments(truth, prediction)
    return _ratio(2 * m.covariance, m.truth + m.prediction + m.shift**2, 1.0)


def pcc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Pearson's correlation coefficient, in [-1, 1]; 0 if a series is constant.

    Undefined for a constant series; 0, as for `ccc`, keeps averages over sequences defined.

    >>> round(pcc([0.0, 0.5, 1.0], [0.5, 1.0, 1.5]), 3)
    1.0
    """
    m = moments(truth, prediction)
    spread = np.sqrt(m.truth) * np.sqrt(m.prediction)
    return float(np.clip(_ratio(m.covariance, spread, 0.0), -1, 1))


def icc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Intraclass correlation ICC(3,1), two raters' consistency, in [-1, 1].

    ICC(3,1) = (W - S) / (W + S), W the mean square between frames and S the residual mean square
    of the two-way layout (Shrout and Fleiss; pingouin's ICC(C,1), which FERA scores by). With two
    raters that is 2 cov / (var + var): a constant offset costs nothing, a wrong scale does.

    Paper 000, App. B prints the same ratio with W = 1/N sum of squares about one grand mean and S
    = the sum of squared differences without its 1/N. Read to the letter that tends to -1 as N
    grows however good the prediction is, so the standard is what is computed here.

    Returns
    -------
    1 for two constant series, which differ by an offset only; 0 if just one is constant.

    >>> round(icc([0.0, 0.5, 1.0], [0.5, 1.0, 1.5]), 3)
    1.0
    """
    m = moments(truth, prediction)
    return _ratio(2 * m.covariance, m.truth + m.prediction, 1.0)


def mse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean squared error."""
    y, p = _pair(truth, prediction)
    return float(np.mean((y - p) ** 2))


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the series.

    >>> rmse([0.0, 0.0], [3.0, 3.0])
    3.0
    """
    return float(np.sqrt(mse(truth, prediction)))


def mae(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean absolute error."""
    y, p = _pair(truth, prediction)
    return float(np.mean(np.abs(y - p)))


def moments(truth: ArrayLike, prediction: ArrayLike) -> Moments:
    """Second moments over N in float64, exact where a series is constant.

    Each series is measured from its first value, so a constant one varies by exactly zero.
    """
    y, p = _pair(truth, prediction)
    with np.errstate(invalid="ignore"):
        from_y, from_p = y - y[0], p - p[0]
        mean_y, mean_p = from_y.mean(), from_p.mean()
        dy, dp = from_y - mean_y, from_p - mean_p
        return Moments(
            float(np.mean(dy * dy)),
            float(np.mean(dp * dp)),
            float(np.mean(dy * dp)),
            float((y[0] - p[0]) + (mean_y - mean_p)),
        )


def _pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise ValueError(f"metrics take two series of one length, got {y.shape} and {p.shape}")
    return y, p


def _ratio(above: float, below: float, neither_varies: float) -> float:
    return neither_varies if below == 0 else float(above / below)
