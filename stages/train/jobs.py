"""One training job: a recipe, a cache and a seed in, a run folder out, whoever asks for it.

`affcache train` runs one, cross-validation and comparisons run several. A job is plain data, so it
can be sent to another process, which loads the sequences itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import affcache
from affcache.errors import CacheError, RecipeError
from affcache.progress import say
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from affcache.windows import load_split
from stages.train import announcement, data, filling
from stages.train.device import choose, described
from stages.train.folds import ORIGINAL, Fold
from stages.train.heads import head_class
from stages.train.recipe import Recipe
from stages.train.refitting import RIDGE, Refitted
from stages.train.run import Run, held, start_or_resume
from stages.train.scoring import headline_name, scores
from stages.train.training import starting, trainer
from stages.train.training.source import by_cache, draw_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What decides a run, and how it is computed.

    Attributes
    ----------
    cache : where to learn
    also : further caches of the same fingerprint to learn from, and to be validated on
    recipe : how
    seed : of weights, batches and everything random
    pseudo : whose pseudo-labels the head sees; None is what `data.pseudo_name` finds
    fill : sets of pseudo-labels for frames without annotations (`stages.train.filling`)
    start : run whose weights are the initial ones (`stages.train.training.starting`); None is the
        seed's
    device, workers, data : change the speed (`stages.train.training.batches.batches`)
    """

    cache: Path
    recipe: Recipe
    also: tuple[Path, ...] = ()
    seed: int = 0
    pseudo: str | None = None
    fill: tuple[str, ...] = ()
    start: Path | None = None
    device: str = "auto"
    workers: int = 0
    data: str = "auto"


class Material(NamedTuple):
    """Sequences of a run.

    Attributes
    ----------
    training : to learn from, holes filled if the job says so
    validation : to choose the best epoch by, as annotated
    annotated : the training sequences as people annotated them
    refitted : provenance of the pseudo-labels where they are of these people's own readout
    """

    training: list[FrameSequence]
    validation: list[FrameSequence]
    annotated: list[FrameSequence]
    refitted: dict[str, Any] | None = None


def material(job: Job, fold: Fold | None = None) -> Material:
    """The sequences of the original split, or of a fold of its training and validation videos.

    Raises
    ------
    CacheError
        If there is nothing to learn from, or pseudo-labels are missing.
    """
    name, streams = what_it_sees(job)
    cache, task = Cache(job.cache), job.recipe.task
    annotated = load_split(cache.path, task, name, "train", streams)
    validation = data.split_if_labelled(cache, task, name, "validation", streams)
    if fold is not None and fold.name != ORIGINAL:
        everything = data.together(annotated, validation)
        annotated = [s for s in everything if s.id in fold.training]
        validation = [s for s in everything if s.id in fold.validation]
    training, more = annotated, []
    targets = data.sizes_of(annotated, cache, task, head_class(job.recipe.head)).targets
    if job.fill:
        more = filling.unannotated(cache, targets, name, streams, {s.id for s in annotated})
    refitted = None
    attributes = data.pseudo_attributes(cache, name)
    if fold is not None and fold.name != ORIGINAL and attributes.get("method") == RIDGE:
        own = Refitted(attributes, annotated, targets, f"{cache.path}: {fold.name}")
        annotated, validation, more = (
            [own.seen_by(s) for s in some] for some in (annotated, validation, more)
        )
        training, refitted = annotated, own.attributes
    if job.fill:
        training = filling.fill([*annotated, *more], cache, job.fill, targets)
        training = [s for s in training if s.counted.any()]
    if name is not None:
        data.check_pseudo([*training, *validation], f"{cache.path}: pseudo-labels {name!r}")
    return joined(job, fold, Material(training, validation, annotated, refitted))


def joined(job: Job, fold: Fold | None, first: Material) -> Material:
    """The sequences of all caches of a job, in the order of caches.

    Raises
    ------
    CacheError
        If a cache was extracted in another way than the first, names its columns otherwise, or
        would show the head other streams or pseudo-labels.
    RecipeError
        If people of several caches should be dealt to folds.
    """
    if job.also and fold is not None and fold.name != ORIGINAL:
        raise RecipeError(
            "folds are of one cache's people: leave out --folds, or make one cache of them "
            "(`affcache merge`)"
        )
    found = first
    for path in job.also:
        data.same_fingerprint(described_cache(Cache(job.cache)), Cache(path))
        alone = dataclasses.replace(job, cache=path, also=())
        _same_view(job, alone)
        more = material(alone, fold)
        columns = [s.origin and dict(s.origin.targets) for s in (first[0] + more[0])]
        if any(c != columns[0] for c in columns):
            raise CacheError(f"{path}: names its {job.recipe.task} columns unlike {job.cache}")
        found = Material(
            found.training + more.training,
            found.validation + more.validation,
            found.annotated + more.annotated,
        )
    return found


def _same_view(job: Job, other: Job) -> None:
    """Refuse a cache whose streams, or pseudo-labels that a head needs, are not the first's."""
    (name, streams), (others, theirs) = what_it_sees(job), what_it_sees(other)
    if streams != theirs:
        raise CacheError(
            f"{other.cache}: shows the head {', '.join(theirs)}, but {job.cache} shows "
            f"{', '.join(streams)}; a run sees the same streams everywhere"
        )
    needs = head_class(job.recipe.head).needs_pseudo(streams, job.recipe.model)
    if needs and name != others:
        raise CacheError(
            f"{other.cache}: has pseudo-labels {others!r}, but {job.cache} has {name!r}; name a "
            "set that both have with --pseudo"
        )


def described_cache(cache: Cache) -> dict[str, Any]:
    """What config.json says of a cache."""
    return {
        "path": str(cache.path.resolve()),
        "dataset": cache.header.get("dataset"),
        "fingerprint": cache.fingerprint,
        "fields": cache.header.get("fields", {}),
    }


def what_it_sees(job: Job) -> tuple[str | None, tuple[str, ...]]:
    """Whose pseudo-labels, and which streams, a job's head gets."""
    cache = Cache(job.cache)
    streams = data.streams_of(cache, head_class(job.recipe.head))
    return job.pseudo or data.pseudo_name(cache, job.recipe, streams), streams


def run_job(job: Job, learn: Material, folder: Path) -> Run:
    """Train, or go on with, the run in a folder."""
    if job.recipe.windows.mix:
        by_cache(learn.training, len(job.recipe.windows.mix))  # refused before a folder is made
    cache, device = Cache(job.cache), choose(job.device)
    name, _ = what_it_sees(job)
    config = configuration(job.recipe, job.seed, cache, name, learn, job.fill)
    _check_validation(Run(folder, config), learn.validation)
    config["also"] = [described_cache(Cache(path)) for path in job.also]
    config["people"] = sorted({s.subject for s in learn.training})
    config["start"] = starting.provenance(job.start)
    config["files"] = head_class(job.recipe.head).files(job.recipe.model)
    starting.rehearse(Run(folder, config))
    draw_from(Run(folder, config), learn.training)  # a recipe's windows must fit somewhere
    run = start_or_resume(folder, config, learn.refitted or data.pseudo_attributes(cache, name))
    with held(run):
        announcement.announce(run, learn.training, learn.validation, described(device))
        if job.fill:
            announcement.mention_filled(run, learn.annotated, learn.training)
        if job.also:
            announcement.mention_acquainted([job.cache, *job.also], job.recipe.task)
        standing = trainer.train(
            run, learn.training, learn.validation, device, job.workers, job.data
        )
    if standing.best_score is None:
        say(f"done: {run.folder} keeps its last epoch")
    else:
        say(
            f"done: best validation {headline_name(run.sizes)} {standing.best_score:.3f} in "
            f"epoch {standing.best_epoch}; next: affcache evaluate {run.folder}"
        )
    return run


def _check_validation(run: Run, validation: Sequence[FrameSequence]) -> None:
    """Refuse a validation split that no epoch can be scored on, and so no best one be chosen by."""
    if validation and not scores(
        run.sizes, validation, [np.zeros_like(s.labels) for s in validation]
    ):
        raise CacheError(
            f"{run.config['cache']['path']}: the validation split has fewer than two frames with "
            "a face and a label, too few to choose an epoch by; annotate more of it, or take its "
            "videos out of the split, to keep the last epoch"
        )


def default_folder(cache: Path, recipe: str, seed: int) -> Path:
    """runs/<cache>-<recipe>-s<seed>, below the present folder."""
    return Path("runs") / f"{cache.resolve().stem}-{Path(recipe).stem}-s{seed}"


def configuration(
    recipe: Recipe,
    seed: int,
    cache: Cache,
    pseudo: str | None,
    material: Material,
    fill: Sequence[str] = (),
) -> dict[str, Any]:
    """What config.json says: all that the run's result depends on, and where it came from."""
    training, validation = material.training, material.validation
    if not any(s.counted.any() for s in training):
        raise CacheError(
            f"{cache.path}: no training video with {recipe.task} labels (see `affcache label`)"
        )
    told = [s for s in material.annotated if s.counted.any()] or training
    labels = np.concatenate([s.labels[s.counted] for s in told]).astype(np.float64)
    known = np.isfinite(labels)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, labels, 0).sum(axis=0) / count
    spread = np.where(known, labels - mean, 0)
    sizes = data.sizes_of(training, cache, recipe.task, head_class(recipe.head))
    return {
        "affcache": affcache.__version__,
        "recipe": recipe.as_dict(),
        "seed": seed,
        "cache": described_cache(cache),
        "pseudo": pseudo,
        "fill": filling.provenance(cache, fill),
        "sizes": {
            # pairs, because JSON's objects have no order and that of the columns matters
            "streams": [list(pair) for pair in sizes.streams.items()],
            "targets": [[task, list(names)] for task, names in sizes.targets.items()],
            "fps": sizes.fps,
        },
        "data": data.digest([*training, *validation], given=material.refitted is None),
        "training_labels": {
            "mean": mean.tolist(),
            "std": np.sqrt((spread**2).sum(axis=0) / count).tolist(),
        },
    }
