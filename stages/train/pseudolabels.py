"""Pseudo-labels from a trained run, or from rules, stored beside what people annotated.

Paper 004, section 3.4: a teacher's decisions where it is confident, and expressions inferred from
annotated action units. They are written as a set of the cache, as a person would have given them
(one expression, units as 0 and 1), NaN where nobody is sure; `affcache train --fill NAME` uses
them. The set is `partial`: because of its holes it is never taken for a classifier's opinion of
every frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import affcache
from affcache.errors import CacheError, RunError
from affcache.metrics import accuracy, ccc
from affcache.progress import Progress, say
from affcache.schema import EXPRESSIONS, is_safe_id
from affcache.store import Cache, unsealed, write_pseudo
from affcache.targets import complete, split_of
from affcache.windows import Sequence as FrameSequence
from affcache.windows import load_all, load_split
from stages.train import data, inference, rules
from stages.train.confident import NEAR, sure_classes, sure_numbers, sure_units
from stages.train.heads import Sizes
from stages.train.inference import Predicted
from stages.train.run import Run

METHODS = ("teacher", "rules")
Rows = dict[str, dict[str, np.ndarray]]  # video -> task -> (T, k)


class Made(NamedTuple):
    """A set of pseudo-labels: where it comes from, its rows, and a table about it."""

    provenance: dict[str, Any]
    rows: Rows
    table: list[dict[str, Any]]


def from_teacher(run: Run, cache: Cache, threshold: float, device: torch.device) -> Made:
    """What a run is sure of, in every frame with a face of every video.

    Raises
    ------
    CacheError, RunError
        If the cache is not like the run's, or the run has nothing that it could be sure of.
    """
    data.same_fingerprint(run.config["cache"], cache)
    sizes, recipe = run.sizes, run.recipe
    sequences = data.for_run(cache, sizes, run.config["pseudo"], run.pseudo_attributes())
    head, standing = run.trained_head(device)
    rows: Rows = {}
    with Progress("labelling", len(sequences), "videos") as progress:
        for s in sequences:
            (said,) = inference.predict(head, [s], recipe.windows.test_length, device)
            rows[s.id] = sure(sizes, said, threshold)
            progress.advance(note=s.id)
    if not any(rows.values()):
        raise RunError(
            f"{run.folder}: nothing to be sure by: {recipe.head} learns {'+'.join(sizes.targets)}, "
            "without expressions, units or a standard deviation"
        )
    return _made(
        {
            "method": "teacher",
            "run": str(run.folder.resolve()),
            "head": recipe.head,
            "seed": run.config["seed"],
            "iteration": standing.iteration,
            "threshold": threshold,
            "near": NEAR,
        },
        rows,
        cache,
        sizes.targets,
        sequences,
    )


def from_rules(cache: Cache, min_support: int, min_confidence: float) -> Made:
    """Expressions of frames whose units people annotated, by rules of the training split.

    Raises
    ------
    CacheError
        If no pattern of units is frequent and sure enough.
    """
    task = "expr+au"
    training = load_split(cache.path, task, None, "train")
    classes = len(EXPRESSIONS)
    labels = np.concatenate([s.labels[s.counted] for s in training])
    found = rules.mine(labels[:, classes:], labels[:, :classes], min_support, min_confidence)
    if not found:
        raise CacheError(
            f"{cache.path}: no pattern of units has {min_support} training frames with an "
            f"expression of which {min_confidence:g} agree; lower --min-support or --min-confidence"
        )
    say(f"{len(found)} rules from {len(training)} training videos")
    sequences = load_all(cache.path, task, None)
    rows = {}
    for s in sequences:
        said = rules.apply(found, s.labels[:, classes:], classes)
        said[~s.valid] = np.nan
        rows[s.id] = {"expr": said}
    provenance = {
        "method": "rules",
        "min_support": min_support,
        "min_confidence": min_confidence,
        "rules": [rule.as_dict() for rule in found],
    }
    return _made(provenance, rows, cache, {"expr": EXPRESSIONS}, sequences)


def store(cache: Cache, name: str, made: Made) -> None:
    """Write a set, or replace one that was made like this; nothing else is ever replaced."""
    with unsealed(cache.path):
        write_pseudo(cache.path, name, made.provenance, made.rows)


def check_name(cache: Cache, name: str) -> None:
    """Refuse a name that cannot be, or that is taken by what this command did not make."""
    if cache.path.is_file():
        raise CacheError(f"{cache.path}: is packed; `affcache unpack` it to add pseudo-labels")
    if not is_safe_id(name) or name == "backbone":
        raise CacheError(f"{name!r} cannot name a set of pseudo-labels; choose another --name")
    if name in cache.pseudo_names():
        method = cache.pseudo_attributes(name).get("method")
        if method not in METHODS:
            raise CacheError(
                f"{cache.path}: pseudo-labels {name!r} are there, made by {method or 'others'}; "
                "choose another --name"
            )


def sure(sizes: Sizes, said: Predicted, threshold: float) -> dict[str, np.ndarray]:
    """What a prediction is sure of, task by task; a task without any confidence is left out."""
    found: dict[str, np.ndarray] = {}
    if "expr" in sizes.targets:
        found["expr"] = sure_classes(said.mean[:, sizes.columns("expr")], threshold)
    if "au" in sizes.targets:
        found["au"] = sure_units(said.mean[:, sizes.columns("au")], threshold)
    if "va" in sizes.targets and (said.std is not None or "expr" in found):
        own = sizes.columns("va")
        std = None if said.std is None else said.std[:, own]
        found["va"] = sure_numbers(said.mean[:, own], std, found.get("expr"), threshold)
    return found


def _made(
    provenance: Mapping[str, Any],
    rows: Rows,
    cache: Cache,
    targets: Mapping[str, Sequence[str]],
    sequences: Sequence[FrameSequence],
) -> Made:
    tasks = [task for task in targets if any(task in own for own in rows.values())]
    table = [_summary(task, rows, cache, targets, sequences) for task in tasks]
    document = {
        **provenance,
        "partial": True,
        "affcache": affcache.__version__,
        "fingerprint": cache.fingerprint,
        "counts": {
            row["task"]: {key: row[key] for key in ("sure", "not annotated")} for row in table
        },
    }
    return Made(document, rows, table)


def _summary(
    task: str,
    rows: Rows,
    cache: Cache,
    targets: Mapping[str, Sequence[str]],
    sequences: Sequence[FrameSequence],
) -> dict[str, Any]:
    """Frames of a task, and how the pseudo-labels agree with what people annotated."""
    names = list(targets)
    first = sum(len(targets[name]) for name in names[: names.index(task)])
    columns = slice(first, first + len(targets[task]))
    sure_frames = holes = faces = 0
    pairs: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {True: [], False: []}
    for s in sequences:
        said, truth = rows[s.id][task], s.labels[:, columns]
        known = complete(task, said)
        faces += int(s.valid.sum())
        sure_frames += int(known.sum())
        holes += int((known & ~complete(task, truth)).sum())
        learnt = split_of(cache.video(s.id), task) == "train"
        pairs[learnt].append((truth, said))
    return {
        "task": task,
        "with a face": faces,
        "sure": sure_frames,
        "not annotated": holes,
        "agreement, train": _agreement(task, pairs[True]),
        "agreement, others": _agreement(task, pairs[False]),
    }


def _agreement(task: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Accuracy of classes and units, mean CCC of numbers, where both sides say something."""
    if not pairs:
        return None
    truth, said = (np.concatenate(side) for side in zip(*pairs, strict=True))
    both = np.isfinite(truth) & np.isfinite(said)
    if not both.any():
        return None
    if task == "va":
        known = both.all(axis=1)
        return float(np.mean([ccc(truth[known, d], said[known, d]) for d in range(2)]))
    if task == "expr":
        known = both.all(axis=1)
        return accuracy(truth[known].argmax(axis=1), said[known].argmax(axis=1))
    return accuracy(truth[both], said[both])
