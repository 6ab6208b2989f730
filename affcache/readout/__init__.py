"""Readout: pseudo-labels for a frozen backbone, by ridge regression from features to labels.

What paper 000 calls W, the per-frame classifier on the backbone, for backbones that have none. Only
the training split is fitted. Training videos get what models say that never saw their person;
everyone else gets the full model. So pseudo-labels are as wrong in training as in testing, which a
head that learns to weigh them has to see.

The strength of each target is the one with the smallest squared error on held-out people, not the
largest concordance: squared error asks for the best guess of a frame's label and adds up over
folds, while concordance pays for spread, so it picks weaker penalties, whose spread is partly
noise. Spread can be matched afterwards (`affcache.metrics.match_spread`) or learned by the head;
noise stays.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affcache import __version__
from affcache.errors import CacheError
from affcache.metrics import ccc
from affcache.progress import Progress, say
from affcache.readout import ridge
from affcache.schema import is_safe_id
from affcache.sequences import Sequence, load_all, split_videos, target_names
from affcache.store import Cache, unsealed, write_pseudo
from affcache.table import show
from affcache.targets import split_of, stored

STRENGTHS = np.logspace(-6, 3, 37)  # per frame, of standardised features: four a decade
MOST_FOLDS = 5
ROWS = 4096
RANGES = {"va": (-1.0, 1.0), "au": (0.0, 1.0), "au_intensity": (-1.0, 1.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was fitted on how much; `rows` is the table, one row per target and their mean."""

    videos: int
    subjects: int
    frames: int
    folds: int
    rows: list[dict[str, Any]]


class Fit(NamedTuple):
    """Strength per target (k,), one model per left-out fold, and the model of all folds."""

    strengths: np.ndarray
    held_out: list[ridge.Linear]
    full: ridge.Linear


class Readout(NamedTuple):
    """Stored models: everybody's, one per left-out fold, and which fold a person is in."""

    full: dict[str, Any]
    held_out: list[dict[str, Any]]
    folds: dict[str, int]

    def unseen(self, subject: str) -> dict[str, Any]:
        """The model that never saw a person: everybody's for those who were not fitted on."""
        return self.held_out[self.folds[subject]] if subject in self.folds else self.full


def fit_readout(cache: Path, task: str = "va", name: str = "readout") -> Report:
    """Fit on the training split and store pseudo-labels of every video under `pseudo/<name>/`.

    Parameters
    ----------
    cache : a cache's folder, with features and labels; it is unsealed only to write
    task : "va", "au" (each unit's occurrence as a number from 0 to 1) or "au_intensity"
    name : what the pseudo-labels will be called; other tasks of that name are kept

    Returns
    -------
    Concordance per target: out of fold on the training split, and on the validation split where
    it is annotated. Rows without a face are NaN in what is stored.

    Raises
    ------
    CacheError
        If the task or name cannot be, or there are no labelled training frames of two subjects.
    """
    _check(cache, task, name)
    opened = Cache(cache)
    (targets,) = target_names(opened.videos(), task, str(cache)).values()
    sequences = load_all(cache, task, None)
    train_ids = {video.id for video in split_videos(opened, task, "train")}
    training = [s for s in sequences if s.id in train_ids and usable(s).any()]
    fitted = fit_people(training, task, targets, f"{cache}: task {task}")
    said = {}
    for s in _watched("predicting", sequences):
        model = fitted.unseen(s.subject) if s.id in train_ids else fitted.full
        said[s.id] = np.where(s.valid[:, None], apply(model, s.features), np.nan)
    _store(opened, task, name, fitted.full, said)
    validation = [v.id for v in opened.videos() if split_of(v, task) == "validation"]
    return Report(
        videos=len(training),
        subjects=len(fitted.folds),
        frames=fitted.full["frames"],
        folds=len(fitted.held_out),
        rows=_table(
            targets,
            np.array(fitted.full["alpha"]),
            training,
            [s for s in sequences if s.id in validation],
            said,
        ),
    )


def fit_people(
    training: Collection[Sequence], task: str, targets: Collection[str], where: str
) -> Readout:
    """Fit on sequences that have `usable` frames of one task, whose labels are all their columns.

    Raises
    ------
    CacheError
        If they show fewer than two subjects; `where` leads the message.
    """
    folds = _folds(training, where)
    fit = fit_folds(training, folds)
    full = _stored(fit.full, task, targets) | {
        "alpha": fit.strengths.tolist(),
        "criterion": "squared error on held-out subjects",
        "folds": [
            sorted(who for who, f in folds.items() if f == k) for k in range(len(fit.held_out))
        ],
        "videos": len(training),
        "frames": sum(int(usable(s).sum()) for s in training),
    }
    return Readout(full, [_stored(model, task, targets) for model in fit.held_out], folds)


def apply(model: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    """Pseudo-labels that a stored readout gives to features.

    Parameters
    ----------
    model : `attributes["tasks"][task]` of a set of pseudo-labels: mean, scale (D,), weight (D, k),
        bias (k,), range (lowest, highest)
    features : (T, D) of the same fingerprint

    Returns
    -------
    (T, k) float32, clipped to the task's range. Frames without a face get a number, too: mask
    them. Rows go through in fixed blocks, so the same frames always give the same bits.

    Raises
    ------
    CacheError
        If the features are not as wide as the model.
    """
    mean, scale, weight, bias = (
        np.asarray(model[part], np.float64) for part in ("mean", "scale", "weight", "bias")
    )
    if features.ndim != 2 or features.shape[1] != len(mean):
        raise CacheError(
            f"a readout of {len(mean)} features was given an array of shape {features.shape}; "
            "use it with the backbone it was fitted on"
        )
    slope = weight / scale[:, None]
    level = bias - mean @ slope
    said = np.empty((len(features), len(bias)), np.float32)
    for block in _blocks(len(features)):
        said[block] = np.clip(features[block].astype(np.float64) @ slope + level, *model["range"])
    return said


def fit_folds(training: Collection[Sequence], folds: Mapping[str, int]) -> Fit:
    """Choose each target's strength over left-out folds and fit with it.

    Parameters
    ----------
    training : sequences with usable frames
    folds : subject -> fold
    """
    origin = _origin(training)
    parts: dict[int, ridge.Sums] = {}
    for s in _watched("reading", training):
        rows = np.flatnonzero(usable(s))
        for block in _blocks(len(rows)):
            at = rows[block]
            sums = ridge.sums_of(s.features[at].astype(np.float64) - origin, s.labels[at])
            fold = folds[s.subject]
            parts[fold] = ridge.add(parts[fold], sums) if fold in parts else sums
    held = [parts[fold] for fold in range(len(parts))]
    whole = functools.reduce(ridge.add, held)
    spectra = [ridge.decompose(ridge.without(whole, part)) for part in held]
    targets = len(whole.y)
    errors = np.zeros((len(STRENGTHS), targets))
    for spectrum, part in zip(spectra, held, strict=True):
        for error, a in zip(errors, STRENGTHS, strict=True):
            error += ridge.squared_error(ridge.solve(spectrum, np.full(targets, a)), part)
    strengths: np.ndarray = STRENGTHS[errors.argmin(axis=0)]
    models = [ridge.solve(spectrum, strengths) for spectrum in (*spectra, ridge.decompose(whole))]
    models = [ridge.moved(model, origin) for model in models]
    return Fit(strengths, models[:-1], models[-1])


def group_folds(sizes: Mapping[str, int], folds: int) -> dict[str, int]:
    """Spread subjects over folds of about equal size, the largest first (as scikit-learn's
    GroupKFold does).

    Parameters
    ----------
    sizes : subject -> number of frames

    >>> group_folds({"a": 50, "b": 30, "c": 30}, 2)
    {'a': 0, 'c': 1, 'b': 1}
    """
    names = sorted(sizes)
    load = np.zeros(folds, np.int64)
    chosen = {}
    for i in np.argsort([sizes[name] for name in names])[::-1]:
        fold = int(load.argmin())
        load[fold] += sizes[names[i]]
        chosen[names[i]] = fold
    return chosen


def usable(sequence: Sequence) -> np.ndarray:
    """Frames (T,) with a face and a label for every target."""
    return np.asarray(sequence.valid & np.isfinite(sequence.labels).all(axis=1))


def _check(cache: Path, task: str, name: str) -> None:
    if task not in RANGES:
        raise CacheError(
            f"no readout for task {task!r}; it regresses {', '.join(RANGES)}, and classes need a "
            "classifier"
        )
    if not is_safe_id(name) or name == "backbone":
        raise CacheError(f"{name!r} cannot name a set of pseudo-labels; choose another --name")
    if cache.is_file():
        raise CacheError(f"{cache}: is packed; `affcache unpack` it to add pseudo-labels")


def _folds(training: Collection[Sequence], where: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for s in training:
        sizes[s.subject] = sizes.get(s.subject, 0) + int(usable(s).sum())
    if len(sizes) < 2:
        raise CacheError(
            f"{where}: {len(sizes)} subjects in split 'train' have frames with a face and all "
            "labels; the readout is cross-validated over subjects and needs at least 2"
        )
    return group_folds(sizes, min(MOST_FOLDS, len(sizes)))


def _origin(training: Collection[Sequence]) -> np.ndarray:
    """A point near the features' mean, (D,): sums of squares about it lose no digits."""
    first = next(iter(training))
    near = first.features[np.flatnonzero(usable(first))[:ROWS]]
    return np.asarray(near.mean(axis=0, dtype=np.float64))


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(first, first + ROWS) for first in range(0, rows, ROWS))


def _watched(doing: str, sequences: Collection[Sequence]) -> Iterator[Sequence]:
    with Progress(f"readout: {doing}", total=len(sequences), unit="videos") as progress:
        for sequence in sequences:
            yield sequence
            progress.advance()


def _stored(model: ridge.Linear, task: str, targets: Collection[str]) -> dict[str, Any]:
    parts = {name: part.tolist() for name, part in model._asdict().items()}
    return parts | {"range": list(RANGES[task]), "targets": list(targets)}


def _store(
    cache: Cache, task: str, name: str, model: Mapping[str, Any], said: Mapping[str, np.ndarray]
) -> None:
    """Replace this task's pseudo-labels of that name; other tasks' are written again beside."""
    there = cache.pseudo_attributes(name).get("tasks", {}) if name in cache.pseudo_names() else {}
    provenance = {
        "method": "ridge",
        "affcache": __version__,
        "fingerprint": cache.fingerprint,
        "tasks": {**there, task: dict(model)},
    }
    rows = {}
    for video in cache.videos():
        others = {other: video.pseudo(name, other) for other in there if other != task}
        kept = {other: np.array(a) for other, a in others.items() if a is not None}
        rows[video.id] = {**kept, task: stored(task, said[video.id])}
    with unsealed(cache.path):
        write_pseudo(cache.path, name, provenance, rows)


def _table(
    targets: Collection[str],
    strengths: np.ndarray,
    training: Collection[Sequence],
    validation: Collection[Sequence],
    said: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    scores = [_concordance(some, said) for some in (training, validation)]
    rows: list[dict[str, Any]] = [
        {"target": target, "strength": float(a), "train, out of fold": own, "validation": other}
        for target, a, own, other in zip(targets, strengths, *scores, strict=True)
    ]
    means = [None if None in c else float(np.mean(np.array(c, float))) for c in scores]
    last = {"target": "mean", "strength": None}
    return [*rows, last | {"train, out of fold": means[0], "validation": means[1]}]


def _concordance(
    sequences: Collection[Sequence], said: Mapping[str, np.ndarray]
) -> list[float | None]:
    """CCC per target over all usable frames, None where there are fewer than two."""
    targets = next(iter(said.values())).shape[1]
    pairs = [(s.labels[usable(s)], said[s.id][usable(s)]) for s in sequences]
    if sum(len(truth) for truth, _ in pairs) < 2:
        return [None] * targets
    truth, guess = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return [ccc(truth[:, d], guess[:, d]) for d in range(targets)]


def run(cache: Path, task: str, name: str, *, as_json: bool) -> None:
    """The command: fit, store, print the table."""
    report = fit_readout(cache, task, name)
    at_end = [r["target"] for r in report.rows if r["strength"] in (STRENGTHS[0], STRENGTHS[-1])]
    if at_end:
        say(f"readout: the strength of {', '.join(at_end)} is at an end of what was tried")
    title = (
        f"{cache}: pseudo/{name}, {task}: CCC (fitted on {report.videos} videos of "
        f"{report.subjects} subjects, {report.frames} frames, {report.folds} folds)"
    )
    show(title, report.rows, as_json=as_json)
