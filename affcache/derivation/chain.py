"""Feature chains as pure functions: projection, pooling over a window, standardising.

Paper 003, section IV.B: LGBP-TOP features are reduced to 84 by principal components that keep 99 %
of the variance, then "window-based Avg & Std pooling" over 150 frames doubles them to 168. So the
order is projection, pooling, standardising; each part may be left out.

Convention: a causal window is the frame and those before it, so that a filter on top of it stays a
filter; a centred window of w frames has w // 2 before it and the rest behind. The paper does not
say which it used; the baseline features of AVEC 2016, with the same windows, are pooled over
centred ones. At the ends of a video, and where frames have no face, the statistics are over
the frames with a face that are there; the deviation divides by their number N. A frame without a
face keeps a row of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ALIGNMENTS = ("causal", "centred")
NOISE = 1e-13  # a variance below this share of the block's energy is rounding


class Projection(NamedTuple):
    """x -> (x - mean) @ components.T; mean (D,), components (k, D), of unit length."""

    mean: np.ndarray
    components: np.ndarray


class Scaling(NamedTuple):
    """x -> (x - mean) / scale; both (D,)."""

    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What happens to features, in this order; None leaves a part out.

    Attributes
    ----------
    projection : onto principal components
    window : frames to pool mean and standard deviation over
    align : "causal" or "centred"
    scaling : to zero mean and unit variance
    """

    projection: Projection | None = None
    window: int | None = None
    align: str = "causal"
    scaling: Scaling | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """How many frames before and behind a frame its result depends on."""
        if self.window is None:
            return 0, 0
        before = self.window - 1 if self.align == "causal" else self.window // 2
        return before, self.window - 1 - before

    def width(self, features: int) -> int:
        """How many features come out of so many."""
        kept = features if self.projection is None else len(self.projection.components)
        return kept if self.window is None else 2 * kept

    def apply(self, features: np.ndarray, valid: np.ndarray, start: int, stop: int) -> np.ndarray:
        """The result for frames [start, stop) of a video.

        Parameters
        ----------
        features : (T, D), mapped; only the rows that are needed are read
        valid : (T,) bool

        Returns
        -------
        (stop - start, D') float64; zero where not valid
        """
        before, behind = self.reach
        low, high = max(start - before, 0), min(stop + behind, len(valid))
        rows, there = features[low:high].astype(np.float64), valid[low:high]
        if self.projection is not None:
            rows = (rows - self.projection.mean) @ self.projection.components.T
        if self.window is not None:
            rows = pool(rows, there, before, behind)
        rows = rows[start - low : stop - low]
        if self.scaling is not None:
            rows = (rows - self.scaling.mean) / self.scaling.scale
        return np.where(valid[start:stop, None], rows, 0.0)


def pool(rows: np.ndarray, valid: np.ndarray, before: int, behind: int) -> np.ndarray:
    """Mean and standard deviation over the valid rows around each row.

    Parameters
    ----------
    rows : (n, D) float64; what is not valid is not looked at
    valid : (n,) bool
    before, behind : how far the window reaches

    Returns
    -------
    (n, 2 D) float64: means, then deviations (over N); zero where no row of a window is valid

    >>> pool(np.array([[1.0], [3.0], [9.0]]), np.array([True, True, False]), 1, 0)
    array([[1., 0.],
           [2., 1.],
           [3., 0.]])
    """
    n = len(rows)
    first = np.maximum(np.arange(n) - before, 0)
    last = np.minimum(np.arange(n) + behind + 1, n)
    centre = rows[valid].mean(axis=0) if valid.any() else np.zeros(rows.shape[1])
    shifted = np.where(valid[:, None], rows - centre, 0.0)
    count = _windowed(valid[:, None].astype(np.float64), first, last)
    some = np.maximum(count, 1.0)
    mean = _windowed(shifted, first, last) / some
    energy = np.square(shifted).sum(axis=0)
    variance = _windowed(np.square(shifted), first, last) / some - np.square(mean)
    variance[variance <= NOISE * energy] = 0.0
    found = np.concatenate([mean + centre, np.sqrt(variance)], axis=1)
    return np.where(count > 0, found, 0.0)


def _windowed(rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=sums[1:])
    found: np.ndarray = sums[last] - sums[first]
    return found


def components_for(variances: np.ndarray, total: float, asked: float) -> int:
    """How many components to keep.

    Parameters
    ----------
    variances : (k,) of the components, falling
    total : variance of the data
    asked : a share of the variance below 1 (as many as exceed it, as scikit-learn counts them), or
        a number of components from 1 on

    >>> components_for(np.array([5.0, 3.0, 2.0]), 10.0, 0.7)
    2
    """
    if asked >= 1:
        return min(int(asked), len(variances))
    shares = np.cumsum(variances) / total
    return min(int(np.searchsorted(shares, asked, side="right")) + 1, len(variances))


def signed(components: np.ndarray) -> np.ndarray:
    """Components (k, D) whose entry of the largest size is positive: the sign is settled."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return components * np.where(signs == 0, 1.0, signs)[:, None]


def scaling_of(mean: np.ndarray, variance: np.ndarray, count: int) -> Scaling:
    """Zero mean and unit variance (over N); a column that does not vary keeps its scale.

    The limit is that of scikit-learn's StandardScaler: the rounding error of a variance.
    """
    rounding = np.finfo(np.float64).eps
    still = variance <= count * rounding * variance + np.square(count * mean * rounding)
    return Scaling(mean, np.where(still, 1.0, np.sqrt(variance)))
