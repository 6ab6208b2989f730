"""One table per task: every metric per target and their mean, pooled or averaged.

"frames" scores all frames of all sequences as one series, as the challenges do; "sequences" scores
each and averages, which asks whether the course within a video is right.

Convention: columns and units are those of `affcache.targets`, truth and prediction alike;
probabilities count as "yes" from 0.5, and the most probable expression is the one predicted.
Intensities' squared error is in the annotators' unit, from 0 to 5, as paper 000's Tables 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from affcache.metrics.classes import accuracy, f1, f1_per_class
from affcache.metrics.concordance import ccc, icc, mse, pcc, rmse

HALF_SCALE = 2.5  # of an intensity from 0 to 5, learnt from -1 to 1
THRESHOLD = 0.5
OVER = ("frames", "sequences")
METRICS: dict[str, tuple[str, ...]] = {  # the first decides which epoch is the best
    "va": ("ccc", "pcc", "rmse"),
    "expr": ("f1", "accuracy"),
    "au": ("f1", "accuracy"),
    "au_intensity": ("icc", "mse", "pcc"),
}
Metric = Callable[[np.ndarray, np.ndarray], float]
_SERIES: dict[str, Metric] = {"ccc": ccc, "pcc": pcc, "rmse": rmse, "icc": icc}


def summarise(
    truths: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    over: str = "frames",
    targets: Sequence[str] = ("valence", "arousal"),
    task: str = "va",
) -> dict[str, float]:
    """Every metric of a task per target, and its mean over targets.

    Parameters
    ----------
    truths, predictions : one (frames, targets) array a sequence; a frame without a truth for a
        target (NaN) does not count for it
    over : "frames" or "sequences"; the latter leaves out sequences of fewer than two frames
    targets : what the columns are called
    task : a key of `METRICS`

    Returns
    -------
    "ccc_valence", "ccc_arousal", "ccc_mean", "pcc_valence", ...; the mean over sequences where
    over is "sequences". Expressions have one accuracy, "accuracy_mean". NaN for a target that is
    never annotated.

    Raises
    ------
    ValueError
        If there is nothing to score or shapes differ.
    """
    if over not in OVER:
        raise ValueError(f"over is {over!r}, expected one of {OVER}")
    pairs = list(zip(truths, predictions, strict=True))
    if any(t.shape != p.shape or t.shape[1:] != (len(targets),) for t, p in pairs):
        raise ValueError(f"shapes that differ, or are not of {tuple(targets)}")
    if over == "frames" and pairs:
        pairs = [(np.concatenate([t for t, _ in pairs]), np.concatenate([p for _, p in pairs]))]
    pairs = [(t, p) for t, p in pairs if np.isfinite(t).any(axis=1).sum() > 1]
    if not pairs:
        raise ValueError(f"nothing to score for {tuple(targets)}")
    rows = [(_classes if task == "expr" else _columns)(t, p, targets, task) for t, p in pairs]
    found = {name: [row[name] for row in rows if name in row] for name in _names(targets, task)}
    return {name: float(np.mean(own)) if own else float("nan") for name, own in found.items()}


def _columns(
    truth: np.ndarray, said: np.ndarray, targets: Sequence[str], task: str
) -> dict[str, float]:
    """Scores of targets that are numbers of their own, each over the frames where it is known."""
    table: dict[str, float] = {}
    known = np.isfinite(truth)
    annotated = [d for d in range(len(targets)) if known[:, d].any()]
    for name in METRICS[task]:
        metric = _metric(name)
        scores = {
            f"{name}_{targets[d]}": metric(truth[known[:, d], d], said[known[:, d], d])
            for d in annotated
        }
        table |= {**scores, f"{name}_mean": float(np.mean(list(scores.values())))}
    return table


def _classes(
    truth: np.ndarray, said: np.ndarray, targets: Sequence[str], task: str
) -> dict[str, float]:
    """Scores of one class among several: (frames, classes) as 0 and 1, and as probabilities."""
    known = np.isfinite(truth).all(axis=1)
    right, guess = truth[known].argmax(axis=1), said[known].argmax(axis=1)
    scores = f1_per_class(right, guess, len(targets))
    table = {f"f1_{d}": float(s) for d, s in zip(targets, scores, strict=True)}
    return {**table, "f1_mean": float(scores.mean()), "accuracy_mean": accuracy(right, guess)}


def _names(targets: Sequence[str], task: str) -> list[str]:
    single = {"accuracy"} if task == "expr" else set()
    return [
        f"{name}_{target}"
        for name in METRICS[task]
        for target in (*(() if name in single else targets), "mean")
    ]


def _metric(name: str) -> Metric:
    if name == "mse":
        return lambda truth, said: HALF_SCALE**2 * mse(truth, said)
    if name in _SERIES:
        return _SERIES[name]
    measure: Metric = {"f1": f1, "accuracy": accuracy}[name]
    return lambda truth, said: measure(truth >= THRESHOLD, said >= THRESHOLD)
