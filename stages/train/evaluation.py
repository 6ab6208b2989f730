"""Scores of a trained head beside what it had to beat: its own pseudo-labels, raw and smoothed.

Convention: a frame is scored if it has a face and a label. "matched" predictions were shifted and
stretched, one pair of numbers per target for the whole split, to the mean and standard deviation of
the training labels; the labels that are scored against are never looked at for it, and the rule is
the same for everyone. Likelihood-trained means shrink towards the middle and ridge readouts even
more so: raw CCC mostly compares how much.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from affcache.errors import RunError
from affcache.metrics import match_spread, paired_interval
from affcache.metrics.calibration import calibration
from affcache.progress import say
from affcache.store import Cache
from affcache.targets import CONTINUOUS, complete
from affcache.windows import Sequence as FrameSequence
from stages.train import chains, contexts, data, inference
from stages.train.delay import lag_rows
from stages.train.device import described
from stages.train.heads import Sizes
from stages.train.inference import Predicted
from stages.train.run import Run
from stages.train.scoring import headline, labelled, scores
from stages.train.smoothing import trailing_mean

TRAILING_SECONDS = 0.5
MATCHED = ", matched"
Rows = list[np.ndarray]  # one (frame, target) array per sequence


def evaluate(
    run: Run,
    cache: Cache,
    split: str | None,
    device: torch.device,
    context: str | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Score a run on one split of a cache, or on the videos of a fold.

    Parameters
    ----------
    cache : the run's own, or another of the same fingerprint
    split : None takes "test" where it has labels, else "validation"
    context : how a head chooses its context frames, such as "lowest:40"; None is as trained
    only : ids of the videos to score, whatever their split

    Returns
    -------
    A document of "coverage" (a row per task), "scores" (a row per task, predictor and way of
    averaging), "calibration" (a row per target of a head that states its uncertainty), "lags" of
    the output behind the labels (see `delay`), "paired" and what the head reports of itself.

    Raises
    ------
    RunError
        If the split has no frame to score.
    """
    data.same_fingerprint(run.config["cache"], cache)
    recipe, sizes = run.recipe, run.sizes
    split, sequences = labelled_split(run, cache, split, only=only)
    head, standing = run.trained_head(device)
    contexts.choose(head, recipe.head, context)
    say(f"evaluating {run.folder} on {len(sequences)} {split} videos, {described(device)}")
    here = str(cache.path.resolve())
    others = [c["path"] for c in run.config.get("also", []) if c["path"] != here]
    if others:
        say(f"it also learnt from {', '.join(others)}: evaluate there with --cache")
    _mention_known(run, cache, {s.subject for s in sequences})
    predicted = inference.predict(head, sequences, recipe.windows.test_length, device)
    judged = sequences
    if run.config["pseudo"] is None:
        judged = data.with_opinions(cache, sizes.targets, sequences)
    predictors = contenders(recipe.head, judged, [p.mean for p in predicted])
    steps = chains.stored(run.folder)
    if steps is not None:
        done = [chains.apply_chain(steps, p.mean) for p in predicted]
        predictors = {f"{recipe.head}, post-processed": done, **predictors}
    spread = run.config["training_labels"]
    for name in list(predictors):
        predictors[f"{name}{MATCHED}"] = matched(sizes, predictors[name], sequences, spread)
    order = sorted(predictors, key=lambda name: list(predictors).index(name.split(MATCHED)[0]))
    return {
        "run": str(run.folder),
        "cache": str(cache.path),
        "split": split,
        "head": recipe.head,
        "targets": {task: list(names) for task, names in sizes.targets.items()},
        "seed": run.config["seed"],
        "pseudo": run.config["pseudo"],
        "iteration": standing.iteration,
        "context": context,
        "trailing_seconds": TRAILING_SECONDS,
        "report": head.report(),
        "coverage": coverage(sizes, sequences),
        "scores": [
            {"task": task, "predictor": name, "over": over, **table[task]}
            for over in ("frames", "sequences")
            for name in order
            for table in [scores(sizes, sequences, predictors[name], over)]
            for task in table
            if task in CONTINUOUS or MATCHED not in name
        ],
        "calibration": calibrated(sizes, sequences, predicted),
        "lags": lag_rows(sizes, sequences, [p.mean for p in predicted]),
        "paired": paired(sizes, recipe.head, sequences, predictors),
    }


def _mention_known(run: Run, cache: Cache, people: Collection[str]) -> None:
    """Say whom of those scored the run has learnt from: a fold's run knows most of every split."""
    known = [who for who in people if who in run.config.get("people", ())]
    if known and cache.header.get("dataset") == run.config["cache"].get("dataset"):
        say(f"it has learnt from {len(known)} of these {len(people)} people: scores flatter")


def means(run: Run, sequences: Sequence[FrameSequence], device: torch.device) -> Rows:
    """What a run says of sequences, frame by frame, windowed as its recipe has it."""
    head, _ = run.trained_head(device)
    length = run.recipe.windows.test_length
    return [one.mean for one in inference.predict(head, sequences, length, device)]


def contenders(head: str, sequences: Sequence[FrameSequence], predicted: Rows) -> dict[str, Rows]:
    """Everyone's raw predictions by name, the head's last; pseudo-labels only if there are any.

    Where targets have none, or not in every frame with a face, they are NaN.
    """
    found: dict[str, Rows] = {}
    whole = np.all([np.isfinite(s.pseudo[s.valid]).all(axis=0) for s in sequences], axis=0)
    if whole.any():
        said = [np.where(whole, s.pseudo, np.nan) for s in sequences]
        found["pseudo-labels"] = said
        found["trailing mean"] = [
            trailing_mean(rows, s.valid, s.time, TRAILING_SECONDS)
            for s, rows in zip(sequences, said, strict=True)
        ]
    return {**found, head: predicted}


def matched(
    sizes: Sizes,
    rows: Rows,
    sequences: Sequence[FrameSequence],
    spread: Mapping[str, Sequence[float]],
) -> Rows:
    """Predictions of every frame with a face, at the training labels' level and spread.

    Columns of tasks that are scored as classes are left as they are.
    """
    pooled = np.concatenate([r[s.valid] for r, s in zip(rows, sequences, strict=True)])
    ends = np.cumsum([int(s.valid.sum()) for s in sequences])[:-1]
    fitted = [np.full(r.shape, np.nan) for r in rows]
    numbers = np.concatenate(
        [np.full(len(names), task in CONTINUOUS) for task, names in sizes.targets.items()]
    )
    columns = [
        match_spread(pooled[:, d], spread["mean"][d], spread["std"][d]) if number else pooled[:, d]
        for d, number in enumerate(numbers)
    ]
    parts = np.split(np.stack(columns, axis=-1), ends)
    for target, part, s in zip(fitted, parts, sequences, strict=True):
        target[s.valid] = part
    return fitted


def calibrated(
    sizes: Sizes, sequences: Sequence[FrameSequence], predicted: Sequence[Predicted]
) -> list[dict[str, Any]]:
    """`metrics.calibration` of raw predictions per target, and over all targets of a task.

    Empty for a head without standard deviations; only numbers are rows, not classes.
    """
    means, stds = [p.mean for p in predicted], [p.std for p in predicted if p.std is not None]
    rows = []
    for task, names in sizes.targets.items():
        if task not in CONTINUOUS or len(stds) < len(means):
            continue
        truth, mean = (np.concatenate(side) for side in labelled(sizes, task, sequences, means))
        std = np.concatenate(labelled(sizes, task, sequences, stds)[1])
        known = np.isfinite(truth)
        columns = {name: slice(d, d + 1) for d, name in enumerate(names)} | {"all": slice(None)}
        for name, own in columns.items():
            parts = [values[:, own][known[:, own]] for values in (truth, mean, std)]
            if len(parts[0]):
                rows.append({"task": task, "target": name, **calibration(*parts)})
    return rows


def coverage(sizes: Sizes, sequences: Sequence[FrameSequence]) -> list[dict[str, Any]]:
    """How many frames are labelled, are scored, and are labelled but without a face, per task."""
    rows = []
    for task in sizes.targets:
        known = [complete(task, s.labels[:, sizes.columns(task)]) for s in sequences]
        pairs = list(zip(sequences, known, strict=True))
        rows.append(
            {
                "task": task,
                "videos": len(sequences),
                "subjects": len({s.subject for s in sequences}),
                "frames": sum(len(s.valid) for s in sequences),
                "labelled": sum(int(k.sum()) for k in known),
                "scored": sum(int((k & s.valid).sum()) for s, k in pairs),
                "labelled without a face": sum(int((k & ~s.valid).sum()) for s, k in pairs),
            }
        )
    return rows


def paired(
    sizes: Sizes,
    head: str,
    sequences: Sequence[FrameSequence],
    predictors: Mapping[str, Rows],
) -> list[dict[str, Any]]:
    """How much better the head is than each other, person by person, all spread-matched.

    The difference is in `scoring.headline` of the tasks that both speak of; the interval is over
    subjects. Nothing is said where there are fewer than two.
    """
    by_subject: dict[str, list[int]] = {}
    for i, sequence in enumerate(sequences):
        if sequence.counted.sum() > 1:
            by_subject.setdefault(sequence.subject, []).append(i)

    def per_subject(name: str) -> list[dict[str, dict[str, float]]]:
        rows = predictors[f"{name}{MATCHED}"]
        return [
            scores(sizes, [sequences[i] for i in own], [rows[i] for i in own])
            for own in by_subject.values()
        ]

    mine = per_subject(head)
    found = []
    for name in predictors:
        if name == head or MATCHED in name:
            continue
        difference = [
            _headline_of(ours, theirs) - _headline_of(theirs, ours)
            for ours, theirs in zip(mine, per_subject(name), strict=True)
            if ours.keys() & theirs.keys()
        ]
        if len(difference) > 1:
            found.append(
                {
                    "difference": f"{head} minus {name}",
                    "people": len(difference),
                    **paired_interval(difference)._asdict(),
                    "better for": sum(d > 0 for d in difference),
                }
            )
    return found


def _headline_of(table: Mapping[str, dict[str, float]], other: Collection[str]) -> float:
    return headline({task: own for task, own in table.items() if task in other})


def labelled_split(
    run: Run,
    cache: Cache,
    split: str | None,
    order: Sequence[str] = ("test", "validation"),
    only: Collection[str] | None = None,
) -> tuple[str, list[FrameSequence]]:
    """The split that was asked for, or the first of some that can be scored.

    Of the videos of a fold (`only`) the labels of training and validation count, those of a task
    whose test split they are in do not.
    """
    pseudo = run.config["pseudo"], run.pseudo_attributes()
    if only is not None:
        splits = [data.for_run(cache, run.sizes, *pseudo, s) for s in ("train", "validation")]
        return "held-out", [s for s in data.together(*splits) if s.id in only]
    for candidate in (split,) if split else order:
        sequences = data.for_run(cache, run.sizes, *pseudo, candidate)
        if any(s.counted.sum() > 1 for s in sequences):
            return str(candidate), sequences
    wanted = split or " or ".join(order)
    raise RunError(
        f"{cache.path}: no {wanted} video with labels to score against (see `affcache label`)"
    )
