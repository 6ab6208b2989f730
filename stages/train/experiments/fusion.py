"""Several runs, one prediction per frame: decision-level fusion (paper 002, section V.B.3, eq. 3).

Rule "ccc" is the paper's: the mean of what the runs say of a target, each weighing what it scored
there on the validation set. "mean" and "median" ask for no scores; "majority" lets decisions vote
(`stages.train.experiments.voting`).

Convention: valence, arousal, intensities and units have a weight per target (CCC, ICC, F1); the
seven expressions share one, so that probabilities still add up to 1. A run that scored below 0
weighs nothing: eq. 3 with a negative weight would trust it to be wrong. Where all of them did, they
weigh the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from affcache.metrics import METRICS
from stages.train.experiments.voting import majority, mean
from stages.train.heads import Sizes

RULES = ("ccc", "mean", "median", "majority")


def weights_of(sizes: Sizes, validated: Sequence[Mapping[str, Mapping[str, float]]]) -> np.ndarray:
    """t of eq. 3: (M, K) weights of M runs for K columns, which add up to 1 over runs.

    Parameters
    ----------
    validated : `scoring.scores` of each run on the validation set; a task that is not annotated
        there weighs the same for all
    """
    columns = []
    for task, names in sizes.targets.items():
        metric = METRICS[task][0]
        keys = [f"{metric}_{'mean' if task == 'expr' else name}" for name in names]
        columns += [[own.get(task, {}).get(key, 0.0) for own in validated] for key in keys]
    scores = np.clip(np.nan_to_num(np.array(columns, np.float64).T), 0, None)
    total = scores.sum(axis=0)
    return np.where(total > 0, scores / np.where(total > 0, total, 1), 1 / len(scores))


def fuse(sizes: Sizes, opinions: np.ndarray, rule: str, weights: np.ndarray) -> np.ndarray:
    """What runs say together: (M, T, K) to (T, K), NaN where one of them says nothing.

    Parameters
    ----------
    rule : of `RULES`
    weights : (M, K), used by "ccc" alone

    Raises
    ------
    ValueError
        At an unknown rule.
    """
    if rule == "ccc":
        return np.asarray((opinions * weights[:, None]).sum(axis=0))
    if rule == "mean":
        return mean(opinions)
    if rule == "majority":
        columns = [(task, sizes.columns(task)) for task in sizes.targets]
        parts = [majority(task, opinions[..., own]) for task, own in columns]
        return np.concatenate(parts, axis=-1)
    if rule == "median":
        return _median(sizes, opinions)
    raise ValueError(f"rule {rule!r}, expected one of {RULES}")


def _median(sizes: Sizes, opinions: np.ndarray) -> np.ndarray:
    """Median over runs; of expressions, scaled so that they add up to 1 again."""
    found = np.median(opinions, axis=0)
    if "expr" in sizes.targets:
        own = sizes.columns("expr")
        total = found[:, own].sum(axis=-1, keepdims=True)
        # medians of probabilities may all be 0 where runs disagree about everything
        spare = opinions[..., own].mean(axis=0)
        share = found[:, own] / np.where(total > 0, total, 1)
        found[:, own] = np.where(total == 0, spare, share)
    return np.asarray(found)
