"""Does an Affective Process beat its pseudo-labels on simulated people it has never seen?

Every person is a test person once. For each fold of people the cache is labelled anew (a copy whose
features are hard links), then readout, training and scoring run as in the demo, for several seeds.
What is compared is each person's CCC, mean of valence and arousal, everyone's level and spread
matched to the training labels; seeds are averaged, people are what the interval is over.

    python tests/bench/bench_demo_people.py [CACHE] [--folds 4] [--seeds 3] [--set KEY=VALUE]
        [--record NAME]

Takes about a minute per fold and seed on two cores. Simulated data: says nothing of real affect.
What is chosen in the recipe is chosen on simulations of other seeds than those that are reported
(`affcache simulate videos DIR --seed 2`, then extract).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from affcache.metrics import paired_interval
from affcache.readout import fit_readout
from affcache.store import Cache, unseal, write_group
from affcache.table import show
from stages.train import evaluation
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.run import Run
from stages.train.scoring import headline, scores
from tests.bench.records import RESULTS, environment, record


def folds_of(people: list[str], count: int) -> list[dict[str, str]]:
    """Person -> split, per fold: every count-th person tests, two of the next fold validate."""
    return [
        dict.fromkeys(people[fold::count], "test")
        | dict.fromkeys(people[(fold + 1) % count :: count][:2], "validation")
        for fold in range(count)
    ]


def relabelled(cache: Path, target: Path, split: Mapping[str, str]) -> None:
    """Copy a cache with other splits; its features are hard links, its pseudo-labels are left."""
    for entry in cache.iterdir():
        if entry.name == "videos":
            shutil.copytree(entry, target / "videos", copy_function=os.link)
        elif entry.name == "labels":
            shutil.copytree(entry, target / "labels")
    target.joinpath("zarr.json").write_bytes((cache / "zarr.json").read_bytes())
    (target / ".affcache").mkdir()
    unseal(target)
    for video in Cache(target).videos():
        own = video.label_attributes
        name = split.get(str(own["subject"]), "train")
        write_group(target / "labels" / video.id, own | {"split": {"va": name}})


def score(run: Run, cache: Path) -> dict[str, dict[str, float]]:
    """Contender -> test person -> CCC, mean over dimensions, level and spread matched."""
    sizes, spread = run.sizes, run.config["training_labels"]
    _, sequences = evaluation.labelled_split(run, Cache(cache), "test")
    means = evaluation.means(run, sequences, torch.device("cpu"))
    found: dict[str, dict[str, float]] = {}
    for name, raw in evaluation.contenders(run.recipe.head, sequences, means).items():
        rows = evaluation.matched(sizes, raw, sequences, spread)
        for person in sorted({s.subject for s in sequences}):
            own = [i for i, s in enumerate(sequences) if s.subject == person]
            table = scores(sizes, [sequences[i] for i in own], [rows[i] for i in own])
            found.setdefault(name, {})[person] = headline(table)
    return found


def measure(
    cache: Path, folds: int, seeds: int, recipe: str, changes: list[str]
) -> dict[str, dict[str, list[float]]]:
    """Contender -> person -> CCC per seed."""
    people = sorted({str(v.label_attributes["subject"]) for v in Cache(cache).videos()})
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(dir=cache.resolve().parent) as scratch:
        for fold, split in enumerate(folds_of(people, folds)):
            copy = Path(scratch) / f"fold{fold}.zarr"
            relabelled(cache, copy, split)
            fit_readout(copy, "va")
            for seed in range(seeds):
                chosen = load(None, recipe, changes)
                job = Job(cache=copy, recipe=chosen, seed=seed, pseudo="readout", device="cpu")
                run = run_job(job, material(job), Path(scratch) / f"run{fold}-{seed}")
                for name, by_person in score(run, copy).items():
                    for person, value in by_person.items():
                        results.setdefault(name, {}).setdefault(person, []).append(value)
    return results


def report(results: Mapping[str, Mapping[str, list[float]]]) -> list[dict[str, Any]]:
    """Print a row per contender; AP's paired differences and their intervals are returned, too."""
    people = sorted(results["ap"])
    mean = {name: np.array([np.mean(own[p]) for p in people]) for name, own in results.items()}
    by_seed = np.array([results["ap"][p] for p in people]).mean(axis=0)
    show(
        f"mean CCC on {len(people)} unseen simulated people, spread matched",
        [{"": name, "CCC": float(values.mean())} for name, values in mean.items()],
    )
    rows = []
    for one, other in (("ap", "pseudo-labels"), ("ap", "trailing mean")):
        difference = mean[one] - mean[other]
        interval = paired_interval(difference)
        rows.append(
            {
                "difference": f"{one} minus {other}",
                "mean": float(interval.mean),
                "low": float(interval.low),
                "high": float(interval.high),
                "better for": int((difference > 0).sum()),
            }
        )
    show("paired over people, 95 % interval", rows)
    print("ap per seed:", " ".join(f"{value:.3f}" for value in by_seed))
    return rows


def main() -> None:
    """Run everything, print the tables, keep the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", nargs="?", type=Path, default=Path("out/demo.zarr"))
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="ap-demo")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--record", metavar="NAME", help=f"keep every number in {RESULTS.name}/")
    given = parser.parse_args()
    if not given.cache.exists():
        print(f"{given.cache} is not there (`make demo` makes it): nothing measured")
        return
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment("torch"),
        "what": "CCC of each person per seed, mean of valence and arousal, spread matched",
        "folds": given.folds,
        "recipe": load(None, given.recipe, given.set).as_dict(),
    }
    results = measure(given.cache, given.folds, given.seeds, given.recipe, given.set)
    document |= {"differences": report(results), "results": results}
    if given.record:
        print(f"recorded: {record(given.record, document).name}")


if __name__ == "__main__":
    main()
