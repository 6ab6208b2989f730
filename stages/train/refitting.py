"""Pseudo-labels of a fold's run from a readout that never saw the people who are left out.

The cache's readout gives each training person an out-of-fold opinion by folds of its own. Deal the
people anew, and that readout has learnt from the labels of people who are now left out: it made
the pseudo-labels that the run trains on with them, and their own pseudo-labels with each other's
labels. So a fold's run has a readout of its own: fitted on the people that it learns from, out of
fold for them, in full for everybody else, and kept in its folder like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affcache.readout import Readout, apply, fit_people, usable
from affcache.windows import Sequence as FrameSequence
from stages.train.data import backbone_features

RIDGE = "ridge"  # the method of `affcache readout`; a backbone's own opinion knows no labels


class Refitted:
    """The readout of some people: what it says of a sequence, and its provenance.

    Parameters
    ----------
    attributes : of the cache's readout
    learnt : the sequences to learn from, as annotated
    targets : task -> names of its columns
    where : leads the message if they show fewer than two people
    """

    def __init__(
        self,
        attributes: Mapping[str, Any],
        learnt: Sequence[FrameSequence],
        targets: Mapping[str, tuple[str, ...]],
        where: str,
    ) -> None:
        self.models: list[Readout] = []
        first = 0
        for task, names in targets.items():
            own = [_of_task(s, slice(first, first + len(names))) for s in learnt]
            own = [s for s in own if usable(s).any()]
            self.models.append(fit_people(own, task, names, f"{where}: task {task}"))
            first += len(names)
        tasks = {t: model.full for t, model in zip(targets, self.models, strict=True)}
        self.attributes = {**attributes, "tasks": tasks}

    def seen_by(self, sequence: FrameSequence) -> FrameSequence:
        """A sequence with what models say that never saw its person."""
        features = backbone_features(sequence)
        said = np.concatenate(
            [apply(model.unseen(sequence.subject), features) for model in self.models], axis=1
        )
        said[~sequence.valid] = np.nan
        return dataclasses.replace(sequence, pseudo=said)


def _of_task(sequence: FrameSequence, columns: slice) -> FrameSequence:
    features = backbone_features(sequence)
    return dataclasses.replace(sequence, labels=sequence.labels[:, columns], features=features)
