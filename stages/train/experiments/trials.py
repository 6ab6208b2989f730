"""Several runs as one experiment: recipes times seeds times folds, and their mean and spread.

Paper 003, IV.D: ten trials with other initial weights, mean and standard deviation; paper 000, 4.1:
three folds by person on DISFA. Each trial is a run folder of its own, so an experiment that was
stopped goes on, and one that grows (another seed, another head) computes only what is new.

Convention: standard deviations over trials divide by n - 1. With folds, each run keeps its last
epoch and is scored on the people that it never saw: a best epoch chosen on them would be theirs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

from affcache.errors import AffcacheError, RecipeError, RunError
from affcache.metrics import METRICS
from affcache.progress import Progress, say
from affcache.store import Cache
from stages.train import data, evaluation, filling
from stages.train.device import choose
from stages.train.folds import Fold, annotated_folds, subject_folds
from stages.train.jobs import Job, material, run_job
from stages.train.training.starting import learnt_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of an experiment.

    Attributes
    ----------
    recipe : what the table calls it
    job : what to train
    fold : the people left out; None follows the cache's split
    folder : of the run
    """

    recipe: str
    job: Job
    fold: Fold | None
    folder: Path


class Outcome(NamedTuple):
    """What came of a trial: its evaluation, or why there is none."""

    trial: Trial
    document: dict[str, Any] | None
    trouble: str | None


def plan(jobs: Mapping[str, Job], seeds: int, folds: int, out: Path) -> list[Trial]:
    """Every recipe with every seed and every fold.

    Parameters
    ----------
    jobs : recipe's name -> its job, whose seed is the first
    seeds : how many, 1 or more
    folds : how many people's groups are left out in turn; 0 follows the split
    out : folder of the experiment
    """
    trials = []
    for name, job in jobs.items():
        for seed, fold in product(range(job.seed, job.seed + seeds), left_out(job, folds)):
            folder = out / "-".join([name, f"s{seed}", *([fold.name] if fold else [])])
            own = replace(job, seed=seed)
            trials.append(Trial(recipe=name, job=own, fold=fold, folder=folder))
    return trials


def left_out(job: Job, count: int) -> Sequence[Fold | None]:
    """The folds of a job's training and validation videos, by person; just None for 0.

    Raises
    ------
    RecipeError
        If the initial weights are of a run that has learnt from these people: no fold would be
        unseen.
    """
    if not count:
        return [None]
    if job.start is not None and str(job.cache.resolve()) in learnt_from(job.start):
        raise RecipeError(
            f"--start-from {job.start}: has learnt from {job.cache}, so folds would be scored on "
            "people that it has seen; start from a run on another cache, or leave it out"
        )
    learn = material(job)
    _mention_hindsight(job)
    sequences = data.together(learn.annotated, learn.validation)
    subjects = {s.id: s.subject for s in sequences}
    frames = {s.id: int(s.counted.sum()) for s in sequences}
    videos = [v for v in Cache(job.cache).videos() if v.id in subjects]
    return subject_folds(subjects, frames, count, annotated_folds(videos, count))


def _mention_hindsight(job: Job) -> None:
    """Say which pseudo-labels were made with annotations of people left out.

    Those of a readout are fitted anew for each fold (`stages.train.refitting`).
    """
    here, cache = str(job.cache.resolve()), Cache(job.cache)
    asked = [*job.fill]
    if job.pseudo is not None and "run" in data.pseudo_attributes(cache, job.pseudo):
        asked.append(job.pseudo)

    def knows(made: Mapping[str, Any]) -> bool:
        run = Path(made["run"]) if "run" in made else None  # rules have none, and no other cache
        return run is None or (run.is_dir() and here in learnt_from(run))

    names = [made["name"] for made in filling.provenance(cache, asked) if knows(made)]
    if names:
        say(
            f"pseudo-labels {', '.join(names)}: made with annotations of the training split, whose "
            "people are left out in turn here; scores of folds flatter"
        )


def carry_out(trials: Sequence[Trial], parallel: int, scheduler: str | None) -> list[Outcome]:
    """Train and score every trial, here or on dask workers; one's trouble does not stop the rest.

    Parameters
    ----------
    parallel : processes of this machine; 1 works in this one
    scheduler : address of a dask scheduler whose workers see the same files; None starts none
    """
    with Progress("trials", len(trials), "runs") as progress:
        outcomes = []
        for outcome in _outcomes(trials, parallel, scheduler):
            outcomes.append(outcome)
            progress.advance(note=outcome.trial.folder.name)
            if outcome.trouble is not None:
                say(f"{outcome.trial.folder}: {outcome.trouble}")
    return sorted(outcomes, key=lambda outcome: trials.index(outcome.trial))


def one(trial: Trial) -> Outcome:
    """Train, or go on with, one run and score it on people it did not learn from."""
    try:
        learn = material(trial.job, trial.fold and trial.fold._replace(validation=frozenset()))
        run = run_job(trial.job, learn, trial.folder)
        device, cache = choose(trial.job.device), Cache(trial.job.cache)
        only = trial.fold and trial.fold.validation
        return Outcome(trial, evaluation.evaluate(run, cache, None, device, only=only), None)
    except AffcacheError as error:
        return Outcome(trial, None, str(error))


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row per recipe, task and predictor: mean and standard deviation over trials.

    The columns are those of each task's metrics, "ccc_mean" and "ccc_mean std" for example; the
    deviation is None for a single trial.

    Raises
    ------
    RunError
        If no trial succeeded.
    """
    found = [(o.trial.recipe, o.document) for o in outcomes if o.document is not None]
    if not found:
        raise RunError(f"none of {len(outcomes)} trials succeeded: {outcomes[0].trouble}")
    rows = []
    for recipe, group in groupby(found, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        scores = [s for d in documents for s in d["scores"] if s["over"] == "frames"]
        for task, predictor in dict.fromkeys((s["task"], s["predictor"]) for s in scores):
            own = [s for s in scores if (s["task"], s["predictor"]) == (task, predictor)]
            about = {"recipe": recipe, "head": documents[0]["head"], "task": task}
            rows.append(
                about
                | {"predictor": predictor, "trials": len(own)}
                | _spread({k: [s[k] for s in own] for k in own[0] if isinstance(own[0][k], float)})
            )
    return rows


def documents(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Every trial as plain data: where it lies, what it was and what came of it."""
    return [
        {
            "run": str(o.trial.folder),
            "recipe": o.trial.recipe,
            "seed": o.trial.job.seed,
            "fold": o.trial.fold and o.trial.fold.name,
            "trouble": o.trouble,
            "evaluation": o.document,
        }
        for o in outcomes
    ]


def printable(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A table per task of its first metric, "0.449 ± 0.020" per target, by title.

    A head goes by the name of its recipe; what it is compared with is the same for every recipe and
    stands once.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        metric = METRICS[row["task"]][0]
        names = [k for k in row if k.startswith(f"{metric}_") and not k.endswith(" std")]
        shown = names if len(names) <= 3 else [f"{metric}_mean"]
        own = row["predictor"].split(evaluation.MATCHED)[0] == row["head"]
        label = row["predictor"].replace(row["head"], row["recipe"], 1) if own else row["predictor"]
        line = {"": label, "n": row["trials"]} | {
            name.removeprefix(f"{metric}_"): _plus_minus(row[name], row[f"{name} std"])
            for name in shown
        }
        table = tables.setdefault(f"{metric.upper()} of {row['task']}", [])
        if line not in table:
            table.append(line)
    return tables


def _outcomes(trials: Sequence[Trial], parallel: int, scheduler: str | None) -> Iterator[Outcome]:
    if parallel == 1 and scheduler is None:
        yield from map(one, trials)
        return
    from dask.distributed import Client, LocalCluster, as_completed

    if scheduler is None:
        cluster = LocalCluster(n_workers=parallel, threads_per_worker=1, dashboard_address=None)
    else:
        cluster = scheduler
    with Client(cluster) as client:
        # pure=False: the same trial is carried out again, to be found finished in its folder
        futures = [client.submit(one, trial, pure=False, retries=0) for trial in trials]
        for future in as_completed(futures):
            yield future.result()
    if scheduler is None:
        cluster.close()


def _spread(values: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    table: dict[str, float | None] = {}
    for name, own in values.items():
        table[name] = statistics.fmean(own)
        table[f"{name} std"] = statistics.stdev(own) if len(own) > 1 else None
    return table


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"
