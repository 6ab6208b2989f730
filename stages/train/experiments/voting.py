"""Several models, one opinion: the mean of numbers, the majority of decisions.

Paper 004, section 4.3.1: six models "vote for the final predictions". Valence and arousal are
averaged. For expressions and units a vote is a decision: the likeliest expression, a unit at 0.5 or
above; six voters can tie, and then the mean probability decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RULES = ("mean", "majority")
THRESHOLD = 0.5  # of a unit's probability


def mean(opinions: np.ndarray) -> np.ndarray:
    """Mean over models: (M, T, k) to (T, k); NaN where a model says nothing."""
    return np.asarray(opinions.mean(axis=0))


def majority(task: str, opinions: np.ndarray) -> np.ndarray:
    """Decisions of most models.

    Parameters
    ----------
    task : "expr" and "au" are decided; others are averaged
    opinions : (M, T, k) of M models, NaN in frames without a face

    Returns
    -------
    (T, k): one 1 among zeros ("expr"), zeros and ones ("au"); NaN where a model says nothing.

    >>> majority("au", np.array([[[0.6]], [[0.7]], [[0.1]]])).tolist()
    [[1.0]]
    """
    average = mean(opinions)
    if task == "expr":
        votes = one_hot(opinions).sum(axis=0)
        # a probability is below 1, so it can settle a tie and never outweigh a vote
        decided = one_hot(votes + 0.5 * average)
    elif task == "au":
        balance = 2 * (opinions >= THRESHOLD).sum(axis=0) - len(opinions)
        decided = np.where(balance == 0, average >= THRESHOLD, balance > 0).astype(float)
    else:
        return average
    return np.where(np.isfinite(average).all(axis=-1, keepdims=True), decided, np.nan)


def one_hot(scores: np.ndarray) -> np.ndarray:
    """1 at the largest score of the last axis (the first of equals), 0 elsewhere."""
    return np.asarray(np.eye(scores.shape[-1])[np.nan_to_num(scores).argmax(axis=-1)])


def vote(columns: Sequence[tuple[str, slice]], opinions: np.ndarray, rule: str) -> np.ndarray:
    """All tasks' columns side by side: (M, T, K) to (T, K), by "mean" or "majority"."""
    if rule not in RULES:
        raise ValueError(f"rule {rule!r}, expected one of {RULES}")
    if rule == "mean":
        return mean(opinions)
    return np.concatenate([majority(task, opinions[..., own]) for task, own in columns], axis=-1)
