"""Scores of the best possible estimators on a simulated cache's test split, for every task.

Of valence and arousal an estimator says its belief's mean. Of the tasks that follow from them it
says what the belief makes most likely: the probabilities of expressions and units, and the expected
intensities, are averages of the known map over the belief, taken at 8 x 8 points of equal
probability. So these are the best expression for accuracy and the best intensity for the squared
error; units count as present from a probability of one half.

Convention: a frame is scored if it has a face; intensities are scored from 0 to 5. "matched"
shifts and stretches the predictions of the whole split to the training labels' mean and standard
deviation. Both as `affcache evaluate` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

from affcache.metrics import accuracy, f1, f1_macro, icc, match_spread, mse, summarise
from affcache.schema import DIMENSIONS, EXPRESSIONS
from affcache.table import show
from stages.simulate import circumplex, observation, oracles
from stages.simulate.oracles import Belief
from stages.simulate.process import Drawn
from stages.simulate.settings import CacheSettings

PSEUDO = "pseudo-labels"
POINTS = 8
COVERAGE = 0.8
COLUMNS = {  # what is printed: metric -> heading
    "va": {
        "ccc_valence": "valence",
        "ccc_arousal": "arousal",
        "ccc_mean": "mean CCC",
        "ccc_mean_matched": "matched",
        "coverage_80": "in 80 %",
    },
    "expr": {"accuracy": "accuracy", "f1_macro": "macro F1"},
    "au": {"f1_mean": "mean F1"},
    "au_intensity": {"icc_mean": "mean ICC", "mse_mean": "mean MSE"},
}
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]  # task -> estimator -> metric -> value
Answers = dict[str, np.ndarray]  # task -> rows of one sequence


class Ceilings:
    """Collects what estimators say of test sequences, and the training labels' spread.

    Parameters
    ----------
    settings : of the cache; its tasks are scored
    """

    def __init__(self, settings: CacheSettings) -> None:
        self.settings = settings
        self._truth: list[Answers] = []
        self._said: dict[str, list[Answers]] = {}
        self._covered: dict[str, list[np.ndarray]] = {}
        self._sums = np.zeros((3, 2))

    def train(self, labels: np.ndarray) -> None:
        """Count training labels (frames, 2)."""
        self._sums += [np.full(2, len(labels)), labels.sum(axis=0), (labels**2).sum(axis=0)]

    def test(self, drawn: Drawn) -> None:
        """Let every estimator say what it believes of some test sequences."""
        settings = self.settings
        beliefs = oracles.beliefs(settings, drawn)
        seen = slice(settings.reach, settings.reach + settings.frames)
        classified = observation.classified(settings.process, drawn.shown[:, seen])
        for i, valid in enumerate(drawn.valid):
            labels = drawn.labels[i, valid]
            self._truth.append(follows(labels, settings.tasks))
            said = {PSEUDO: follows(classified[i, valid], settings.tasks)}
            for name, belief in beliefs.items():
                mean, std = belief.mean[i, valid], belief.std[i, valid]
                said[name] = best(Belief(mean, std), settings.tasks)
                inside = np.abs(labels - mean) < _half_width(COVERAGE) * std[:, None]
                self._covered.setdefault(name, []).append(inside)
            for name, answers in said.items():
                self._said.setdefault(name, []).append(answers)

    @property
    def spread(self) -> dict[str, list[float]]:
        """Mean and standard deviation of the training labels; empty where there are none."""
        count, total, squares = self._sums
        if not count[0]:
            return {}
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return {"mean": mean.tolist(), "std": std.tolist()}

    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """task -> estimator -> metric -> value; no estimator where no test frame has a face."""
        if not sum(len(answers[self.settings.tasks[0]]) for answers in self._truth) > 1:
            return {task: {} for task in self.settings.tasks}
        return {
            task: {name: self._score(task, name) for name in self._said}
            for task in self.settings.tasks
        }

    def _score(self, task: str, name: str) -> dict[str, float]:
        truth = np.concatenate([answers[task] for answers in self._truth])
        said = np.concatenate([answers[task] for answers in self._said[name]])
        if task == "expr":
            return {
                "accuracy": accuracy(truth, said),
                "f1_macro": f1_macro(truth, said, len(EXPRESSIONS)),
            }
        pairs = list(zip(truth.T, said.T, strict=True))
        if task == "au":
            return {"f1_mean": float(np.mean([f1(y, p) for y, p in pairs]))}
        if task == "au_intensity":
            return {
                "icc_mean": float(np.mean([icc(y, p) for y, p in pairs])),
                "mse_mean": float(np.mean([mse(y, p) for y, p in pairs])),
            }
        table = summarise([truth], [said])
        if self.spread:
            columns = zip(said.T, self.spread["mean"], self.spread["std"], strict=True)
            stretched = np.stack([match_spread(*column) for column in columns], axis=1)
            matched = summarise([truth], [stretched])
            table |= {f"ccc_{d}_matched": matched[f"ccc_{d}"] for d in (*DIMENSIONS, "mean")}
        if name in self._covered:
            table["coverage_80"] = float(np.concatenate(self._covered[name]).mean())
        return table


def follows(va: np.ndarray, tasks: Sequence[str]) -> Answers:
    """What valence and arousal (T, 2) mean for each task, by the known map."""
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "va": np.asarray,
        "expr": circumplex.expressions,
        "au": circumplex.units,
        "au_intensity": circumplex.intensities,
    }
    return {task: rules[task](va) for task in tasks}


def best(belief: Belief, tasks: Sequence[str]) -> Answers:
    """What a belief of (T, 2) means, (T,) deviations, says for each task."""
    if set(tasks) == {"va"}:
        return {"va": belief.mean}
    points = belief.mean[:, None] + belief.std[:, None, None] * standard_points()
    va = np.clip(points, -1, 1)
    answers = {"va": belief.mean}
    if "expr" in tasks:
        shown = circumplex.expressions(va)[..., None] == np.arange(len(EXPRESSIONS))
        answers["expr"] = shown.mean(axis=1).argmax(axis=1)
    if {"au", "au_intensity"} & set(tasks):
        strong = circumplex.intensities(va)
        answers["au"] = (strong >= circumplex.PRESENT).mean(axis=1) >= 0.5
        answers["au_intensity"] = strong.mean(axis=1)
    return {task: answers[task] for task in tasks}


def standard_points() -> np.ndarray:
    """Points (64, 2) of equal probability of two independent unit normals; variance exactly 1."""
    line = np.array([NormalDist().inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)])
    line /= line.std()
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def show_ceilings(out: str, scores: Scores, *, as_json: bool) -> None:
    """Print a table for each task, or one JSON list with a row for each task and estimator.

    Parameters
    ----------
    out : what the cache is called
    scores : as `Ceilings.scores` gives them
    """
    if as_json:
        tables = [(t, e, metrics) for t, own in scores.items() for e, metrics in own.items()]
        show("", [{"task": t, "estimator": e, **metrics} for t, e, metrics in tables], as_json=True)
        return
    for task, estimators in scores.items():
        headings = COLUMNS[task]
        show(
            f"{task}: the best possible on the test split of {out} (simulated)",
            [
                {"estimator": name, **{title: metrics.get(key) for key, title in headings.items()}}
                for name, metrics in estimators.items()
            ],
        )


def _half_width(coverage: float) -> float:
    return NormalDist().inv_cdf((1 + coverage) / 2)
