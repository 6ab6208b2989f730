"""Ridge regression from moments: everything cross-validation asks is in sums that add up.

With G = sum x x', c = sum x y', the fold that is left out is subtracted, one eigendecomposition
G = U diag(e) U' gives w(a) = U (U'c / (e + a)) for every strength a, and the squared error of a
held-out fold is a quadratic form of its own sums. So the frames are read once, whatever the number
of folds and strengths.

Convention: features are standardised by the mean and standard deviation (over N) of the N frames
that are fitted. A strength a is per frame: the penalty is a N |w|^2, scikit-learn's alpha is a N.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Sums(NamedTuple):
    """Sums over n frames of D features, measured from some fixed origin, and of k targets.

    n: frames; x (D,), y (k,); xx (D, D), xy (D, k); yy (k,): squares of the targets.
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray


class Linear(NamedTuple):
    """y = ((x - mean) / scale) @ weight + bias, mean and scale (D,), weight (D, k), bias (k,)."""

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


class Spectrum(NamedTuple):
    """Standardised sums, decomposed: what every strength's solution is made of."""

    sums: Sums
    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    projected: np.ndarray


def sums_of(x: np.ndarray, y: np.ndarray) -> Sums:
    """Sums of x (n, D) and y (n, k), in float64."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return Sums(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y**2).sum(0))


def add(one: Sums, other: Sums) -> Sums:
    """Sums over both sets of frames."""
    return _combine(one, other, 1.0)


def without(whole: Sums, part: Sums) -> Sums:
    """Sums over the whole without one of its parts."""
    return _combine(whole, part, -1.0)


def _combine(one: Sums, other: Sums, factor: float) -> Sums:
    """one + factor * other, sum by sum."""
    n = one.n + int(factor) * other.n
    return Sums(n, *(a + factor * b for a, b in zip(one[1:], other[1:], strict=True)))


def decompose(sums: Sums) -> Spectrum:
    """Standardise and decompose; a feature that never varies gets scale 1 and no weight."""
    mean = sums.x / sums.n
    variance = np.diag(sums.xx) / sums.n - mean**2
    floor = 1e-12 * np.maximum(np.diag(sums.xx) / sums.n, np.finfo(np.float64).tiny)
    varies = variance > floor
    scale = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), 1.0)
    keep = varies / scale
    gram = (sums.xx - sums.n * np.outer(mean, mean)) * np.outer(keep, keep)
    cross = (sums.xy - np.outer(mean, sums.y)) * keep[:, None]
    values, vectors = np.linalg.eigh(gram)
    return Spectrum(sums, mean, scale, varies, np.maximum(values, 0.0), vectors, vectors.T @ cross)


def solve(spectrum: Spectrum, strengths: np.ndarray) -> Linear:
    """The regression with one strength (> 0, per frame) for each target: strengths (k,)."""
    sums = spectrum.sums
    damped = spectrum.values[:, None] + strengths * sums.n
    weight = spectrum.varies[:, None] * (spectrum.vectors @ (spectrum.projected / damped))
    return Linear(spectrum.mean, spectrum.scale, weight, sums.y / sums.n)


def squared_error(model: Linear, held: Sums) -> np.ndarray:
    """Sum of squared errors on the frames that `held` sums over, per target: (k,)."""
    weight = model.weight / model.scale[:, None]
    bias = model.bias - model.mean @ weight
    square = np.einsum("dk,dk->k", weight, held.xx @ weight)
    square += 2 * bias * (held.x @ weight) + held.n * bias**2
    error = square - 2 * (np.einsum("dk,dk->k", weight, held.xy) + bias * held.y) + held.yy
    return np.asarray(np.maximum(error, 0.0))


def moved(model: Linear, origin: np.ndarray) -> Linear:
    """The same regression for features that are not measured from an origin (D,)."""
    return model._replace(mean=model.mean + origin)
