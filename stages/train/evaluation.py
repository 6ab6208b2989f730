"""Scores of a trained head beside what it had to beat: its own pseudo-labels, raw and smoothed.

Convention: a frame is scored if it has a face and a label. "matched" predictions were shifted and
stretched, one pair of numbers per target for the whole split, to the mean and standard deviation of
the training labels; the labels that are scored against are never looked at for it, and the rule is
the same for everyone. Likelihood-trained means shrink towards the middle and ridge readouts even
more so: raw CCC mostly compares how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from affcache.errors import RunError
from affcache.metrics import match_spread, paired_interval, summarise
from affcache.progress import say
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from stages.train import data, inference
from stages.train.device import described
from stages.train.run import Run
from stages.train.smoothing import trailing_mean

TRAILING_SECONDS = 0.5
Rows = list[np.ndarray]  # one (frame, target) array per sequence


def evaluate(run: Run, cache: Cache, split: str | None, device: torch.device) -> dict[str, Any]:
    """Score a run on one split of a cache.

    Parameters
    ----------
    cache : the run's own, or another of the same fingerprint
    split : None takes "test" where it has labels, else "validation"

    Returns
    -------
    A document of "coverage", "scores" (a row per predictor and way of averaging) and "paired".

    Raises
    ------
    RunError
        If the split has no frame to score.
    """
    data.same_fingerprint(run.config["cache"], cache)
    recipe = run.recipe
    split, sequences = _labelled(run, cache, split)
    head, standing = run.trained_head(device)
    say(f"evaluating {run.folder} on {len(sequences)} {split} videos, {described(device)}")
    predicted = inference.predict(head, sequences, recipe.windows.test_length, device)
    predictors = contenders(recipe.head, sequences, [p.mean for p in predicted])
    spread = run.config["training_labels"]
    for name in list(predictors):
        predictors[f"{name}, matched"] = matched(predictors[name], sequences, spread)
    order = sorted(predictors, key=lambda name: list(predictors).index(name.split(", matched")[0]))
    return {
        "run": str(run.folder),
        "cache": str(cache.path),
        "split": split,
        "head": recipe.head,
        "seed": run.config["seed"],
        "pseudo": run.config["pseudo"],
        "iteration": standing.iteration,
        "trailing_seconds": TRAILING_SECONDS,
        "coverage": coverage(sequences),
        "scores": [
            {"predictor": name, "over": over, **scores(sequences, predictors[name], over)}
            for over in ("frames", "sequences")
            for name in order
        ],
        "paired": paired(recipe.head, sequences, predictors),
    }


def contenders(head: str, sequences: Sequence[FrameSequence], predicted: Rows) -> dict[str, Rows]:
    """Everyone's raw predictions by name, the head's last."""
    smooth = [trailing_mean(s.pseudo, s.valid, s.time, TRAILING_SECONDS) for s in sequences]
    return {
        "pseudo-labels": [s.pseudo for s in sequences],
        "trailing mean": smooth,
        head: predicted,
    }


def matched(
    rows: Rows, sequences: Sequence[FrameSequence], spread: Mapping[str, Sequence[float]]
) -> Rows:
    """Predictions of every frame with a face, at the training labels' level and spread."""
    pooled = np.concatenate([r[s.valid] for r, s in zip(rows, sequences, strict=True)])
    ends = np.cumsum([int(s.valid.sum()) for s in sequences])[:-1]
    columns = [
        match_spread(pooled[:, d], spread["mean"][d], spread["std"][d])
        for d in range(pooled.shape[1])
    ]
    fitted = [np.full(r.shape, np.nan) for r in rows]
    parts = np.split(np.stack(columns, axis=-1), ends)
    for target, part, s in zip(fitted, parts, sequences, strict=True):
        target[s.valid] = part
    return fitted


def scores(sequences: Sequence[FrameSequence], rows: Rows, over: str) -> dict[str, float]:
    """Every metric per dimension and their mean over the frames that count (`summarise`)."""
    truths = [sequence.labels[sequence.counted] for sequence in sequences]
    said = [r[s.counted] for r, s in zip(rows, sequences, strict=True)]
    return summarise(truths, said, over)


def coverage(sequences: Sequence[FrameSequence]) -> dict[str, int]:
    """How many frames there are, are labelled, are scored, and are labelled but without a face."""
    labelled = [np.isfinite(s.labels).all(axis=1) for s in sequences]
    pairs = list(zip(sequences, labelled, strict=True))
    return {
        "videos": len(sequences),
        "subjects": len({s.subject for s in sequences}),
        "frames": sum(len(s.valid) for s in sequences),
        "labelled": sum(int(known.sum()) for known in labelled),
        "scored": sum(int(s.counted.sum()) for s in sequences),
        "labelled without a face": sum(int((known & ~s.valid).sum()) for s, known in pairs),
    }


def paired(
    head: str, sequences: Sequence[FrameSequence], predictors: Mapping[str, Rows]
) -> list[dict[str, Any]]:
    """How much better the head is than each other, person by person, all spread-matched.

    The difference is in mean CCC over dimensions; the interval is over subjects. Empty where there
    are fewer than two.
    """
    by_subject: dict[str, list[int]] = {}
    for i, sequence in enumerate(sequences):
        if sequence.counted.sum() > 1:
            by_subject.setdefault(sequence.subject, []).append(i)
    if len(by_subject) < 2:
        return []

    def per_subject(name: str) -> np.ndarray:
        rows = predictors[f"{name}, matched"]
        return np.array(
            [
                scores([sequences[i] for i in own], [rows[i] for i in own], "frames")["ccc_mean"]
                for own in by_subject.values()
            ]
        )

    mine = per_subject(head)
    found = []
    for name in predictors:
        if name != head and "matched" not in name:
            difference = mine - per_subject(name)
            found.append(
                {
                    "difference": f"{head} minus {name}",
                    "people": len(by_subject),
                    **paired_interval(difference)._asdict(),
                    "better for": int((difference > 0).sum()),
                }
            )
    return found


def _labelled(run: Run, cache: Cache, split: str | None) -> tuple[str, list[FrameSequence]]:
    for candidate in (split,) if split else ("test", "validation"):
        sequences = data.for_run(
            cache, run.recipe.task, run.config["pseudo"], run.pseudo_attributes(), candidate
        )
        if any(s.counted.sum() > 1 for s in sequences):
            return str(candidate), sequences
    wanted = split or "test or validation"
    raise RunError(
        f"{cache.path}: no {wanted} video with labels to score against (see `affcache label`)"
    )
