"""Cross-validation by person, and the vote of all its models (paper 004, section 4.3.1).

One model per fold of the training and validation people, and if asked one of the original split.
Each is scored on its own validation videos, which is the paper's Table 1; its best epoch was chosen
on them, too, so that table flatters (`affcache train --folds` keeps the last epoch and does not).
Then all of them vote.

On a test split everybody votes. Without one the original validation videos are what is voted on,
and there each video has only the votes of models that never saw its person: a fold's model has
learnt from most validation people, and its vote on them would be hindsight (the choice of the best
epoch still is a little).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affcache.arrays import write_json
from affcache.progress import say
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from stages.train import data
from stages.train.device import choose
from stages.train.evaluation import means
from stages.train.experiments.tracks import track_scores
from stages.train.experiments.trials import left_out
from stages.train.experiments.voting import RULES, vote
from stages.train.folds import ORIGINAL, Fold
from stages.train.heads import Sizes
from stages.train.jobs import Job, material, run_job, what_it_sees
from stages.train.run import Run
from stages.train.scoring import scores

DOCUMENT = "crossval.json"
Said = list[np.ndarray]  # one (T, K) array a sequence


class Model(NamedTuple):
    """A trained fold: its run, who it has seen, and its validation videos."""

    fold: str
    run: Run
    seen: frozenset[str]
    validation: list[FrameSequence]


def crossval(job: Job, count: int, with_original: bool, folder: Path) -> dict[str, Any]:
    """Train every fold, or go on with them, score and vote; also written to `folder`.

    Parameters
    ----------
    job : what is trained; the same for every fold but its videos
    count : of folds, 2 or more
    with_original : also train on the original split
    folder : parent of the runs "original", "fold-1", ...

    Returns
    -------
    "folds" (a row per model on its own validation videos), "votes" (a row per model that never saw
    the voted-on people, and per rule), "voted_on", how many models "voters" a video had.
    """
    folds = [fold for fold in left_out(job, count) if fold is not None]
    if with_original:
        folds = [Fold(ORIGINAL, frozenset(), frozenset()), *folds]
    models = []
    for number, fold in enumerate(folds, start=1):
        say(f"{fold.name}, {number} of {len(folds)}:")
        learn = material(job, fold)
        run = run_job(job, learn, folder / fold.name)
        seen = frozenset(s.subject for s in learn.training)
        models.append(Model(fold.name, run, seen, learn.validation))
    sizes = models[0].run.sizes
    split, common = voted_on(job)
    ballot = [(model, opinion(model.run, job, split, common)) for model in models]
    document = {
        "head": job.recipe.head,
        "cache": str(job.cache),
        "seed": job.seed,
        "runs": {model.fold: str(model.run.folder) for model in models},
        "folds": [own_row(job, model) for model in models],
        "voted_on": split,
        **votes(sizes, common, ballot, everybody=split == "test"),
    }
    write_json(folder / DOCUMENT, document)
    return document


def voted_on(job: Job) -> tuple[str, list[FrameSequence]]:
    """The test split where it has labels, else the original validation split (else nothing)."""
    name, streams = what_it_sees(job)
    for split in ("test", "validation"):
        found = data.split_if_labelled(Cache(job.cache), job.recipe.task, name, split, streams)
        if found:
            return split, found
    return "nothing", []


def opinion(run: Run, job: Job, split: str, common: Sequence[FrameSequence]) -> Said:
    """What a model says of what is voted on, seeing the pseudo-labels of its own fold."""
    if not common:
        return []
    pseudo = run.config["pseudo"], run.pseudo_attributes()
    sequences = data.for_run(Cache(job.cache), run.sizes, *pseudo, split)
    return means(run, sequences, choose(job.device))


def own_row(job: Job, model: Model) -> dict[str, Any]:
    """A model's row of Table 1: scored on the videos that it was validated on."""
    said = means(model.run, model.validation, choose(job.device))
    people = len({s.subject for s in model.validation})
    own = scores(model.run.sizes, model.validation, said) if model.validation else {}
    return {"validation set": model.fold, "people": people, **track_scores(own)}


def votes(
    sizes: Sizes,
    sequences: Sequence[FrameSequence],
    ballot: Sequence[tuple[Model, Said]],
    everybody: bool,
) -> dict[str, Any]:
    """Scores of single models and of their votes on the same sequences.

    Parameters
    ----------
    ballot : each model with what it says of each sequence
    everybody : all models vote on all sequences; otherwise only those that never saw the person

    Returns
    -------
    "votes" (rows) and "voters" (fewest and most models that voted on a video). A single model has
    a row if it may vote on every sequence.
    """
    may = [[everybody or s.subject not in model.seen for model, _ in ballot] for s in sequences]
    kept = [i for i, able in enumerate(may) if any(able)]
    chosen = [sequences[i] for i in kept]
    rows = []
    for number, (model, said) in enumerate(ballot):
        if kept and all(may[i][number] for i in kept):
            rows.append(_row(model.fold, sizes, chosen, [said[i] for i in kept]))
    columns = [(task, sizes.columns(task)) for task in sizes.targets]
    for rule in RULES if kept else ():
        voted = [
            vote(columns, np.stack([said[i] for (_, said), able in pairs if able]), rule)
            for i in kept
            for pairs in [list(zip(ballot, may[i], strict=True))]
        ]
        rows.append(_row(f"vote: {rule}", sizes, chosen, voted))
    counts = [sum(may[i]) for i in kept]
    return {"votes": rows, "voters": [min(counts), max(counts)] if counts else [0, 0]}


def _row(name: str, sizes: Sizes, sequences: Sequence[FrameSequence], said: Said) -> dict[str, Any]:
    row: Mapping[str, float] = track_scores(scores(sizes, sequences, said))
    return {"model": name, **row}
