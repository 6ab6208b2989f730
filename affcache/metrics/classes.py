"""Scores of discrete labels: accuracy and F1, per class and averaged (ABAW's measures).

Convention: a class that is neither annotated nor predicted has F1 = 0, as in scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def accuracy(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Share of labels that are equal, in [0, 1].

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    y, p = _pair(truth, prediction)
    return float(np.mean(y == p))


def f1(truth: ArrayLike, prediction: ArrayLike) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of a binary label such as one action unit, in [0, 1].

    Parameters
    ----------
    truth, prediction : (N,) of 0 and 1, or bool

    >>> f1([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    y, p = _pair(truth, prediction)
    if not (np.isin(y, (0, 1)).all() and np.isin(p, (0, 1)).all()):
        raise ValueError("f1 takes 0 and 1 (threshold first, and select what is annotated)")
    return _f1(y == 1, p == 1)


def f1_per_class(truth: ArrayLike, prediction: ArrayLike, classes: int) -> np.ndarray:
    """F1 of each class against all others: (classes,) float64.

    Parameters
    ----------
    truth, prediction : (N,) class indices in [0, classes)

    >>> f1_per_class([0, 1, 2, 2], [0, 1, 1, 2], 3).round(3).tolist()
    [1.0, 0.667, 0.667]
    """
    y, p = _pair(truth, prediction)
    known = np.arange(classes)
    if not (np.isin(y, known).all() and np.isin(p, known).all()):
        raise ValueError(f"f1_per_class takes indices from 0 to {classes - 1}")
    return np.array([_f1(y == c, p == c) for c in known])


def f1_macro(truth: ArrayLike, prediction: ArrayLike, classes: int) -> float:
    """Mean F1 over all classes, absent ones included."""
    return float(np.mean(f1_per_class(truth, prediction, classes)))


def _f1(y: np.ndarray, p: np.ndarray) -> float:
    hits, said = int(np.sum(y & p)), int(np.sum(y)) + int(np.sum(p))
    return 2 * hits / said if said else 0.0


def _pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(truth), np.asarray(prediction)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise ValueError(f"metrics take two series of one length, got {y.shape} and {p.shape}")
    return y, p
