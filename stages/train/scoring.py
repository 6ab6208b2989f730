"""How good predictions are, task by task, and the one number that picks the best epoch.

Convention: a task's score is its mean over targets, pooled over all frames: CCC for valence and
arousal, F1 for expressions and action units, ICC for intensities; of several tasks, their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from affcache.metrics import METRICS, summarise
from affcache.targets import complete
from affcache.windows import Sequence as FrameSequence
from stages.train.heads import Sizes

Rows = Sequence[np.ndarray]


def scores(
    sizes: Sizes,
    sequences: Sequence[FrameSequence],
    said: Rows,
    over: str = "frames",
) -> dict[str, dict[str, float]]:
    """Every metric of every task that the sequences are annotated for (`metrics.summarise`).

    A task without two frames to compare (over sequences: in any of them) has no scores, nor one
    with a target about which nothing at all is said.

    Parameters
    ----------
    said : one (T, K) array a sequence
    over : "frames" or "sequences"
    """
    table = {}
    for task, names in sizes.targets.items():
        truths, guesses = labelled(sizes, task, sequences, said)
        lengths = [len(truth) for truth in truths]
        enough = (sum(lengths) if over == "frames" else max(lengths, default=0)) > 1
        if enough and np.isfinite(np.concatenate(guesses)).any(axis=0).all():
            table[task] = summarise(truths, guesses, over, names, task)
    return table


def labelled(
    sizes: Sizes, task: str, sequences: Sequence[FrameSequence], said: Rows
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Truth and prediction of a task's columns, in the frames with a face and its label."""
    columns = sizes.columns(task)
    known = [s.valid & complete(task, s.labels[:, columns]) for s in sequences]
    truths = [s.labels[rows, columns] for s, rows in zip(sequences, known, strict=True)]
    return truths, [r[rows, columns] for r, rows in zip(said, known, strict=True)]


def headline(table: Mapping[str, Mapping[str, float]]) -> float:
    """One number for a table of `scores`: the mean over tasks of each task's first metric."""
    return float(np.mean([own[f"{METRICS[task][0]}_mean"] for task, own in table.items()]))


def headline_name(sizes: Sizes) -> str:
    """What `headline` is called, such as "CCC" or "CCC, F1"."""
    return ", ".join(dict.fromkeys(METRICS[task][0].upper() for task in sizes.targets))
