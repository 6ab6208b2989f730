"""What a run says before it starts: what it learns from, and what its scores will not mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affcache.progress import say
from affcache.sequences import person_of
from affcache.store import Cache
from affcache.targets import split_of, tasks_in
from affcache.windows import Sequence as FrameSequence
from stages.train.run import Run

NAMED = 4  # people that a line names


def announce(
    run: Run,
    training: Sequence[FrameSequence],
    validation: Sequence[FrameSequence],
    device: str,
) -> None:
    """The head, its data, and what is missing of them."""
    parameters = sum(p.numel() for p in run.new_head().parameters())
    frames = sum(int(s.counted.sum()) for s in training)
    name = run.config["pseudo"]
    pseudo = f"pseudo-labels {name!r}" if name else "no pseudo-labels"
    say(
        f"{run.recipe.head}: {parameters:,} parameters on {device}, {len(training)} training "
        f"videos ({frames:,} labelled frames), {len(validation)} for validation, "
        f"{pseudo}, into {run.folder}"
    )
    bare = [
        task
        for task in run.sizes.targets
        if all(np.isnan(s.labels[:, run.sizes.columns(task)]).all() for s in training)
    ]
    if bare:
        say(f"no training labels of {', '.join(bare)}: what it predicts of them means nothing")
    if not validation:
        say("no labelled validation split: no score along the way, and the last epoch is kept")


def mention_filled(
    run: Run, annotated: Sequence[FrameSequence], training: Sequence[FrameSequence]
) -> None:
    """How many frames got labels of a task that nobody had annotated there."""
    before = {(s.origin and s.origin.cache, s.id): s.labels for s in annotated}
    videos, frames = 0, dict.fromkeys(run.sizes.targets, 0)
    for s in training:
        human = before.get((s.origin and s.origin.cache, s.id))
        new = s.valid[:, None] & np.isfinite(s.labels)
        new &= True if human is None else np.isnan(human)
        videos += bool(new.any())
        for task in frames:
            frames[task] += int(new[:, run.sizes.columns(task)].any(axis=1).sum())
    names = ", ".join(made["name"] for made in run.config["fill"])
    counts = ", ".join(f"{task} in {count:,}" for task, count in frames.items())
    say(f"filled by {names}, in {videos} of {len(training)} training videos: {counts} frames")


def mention_acquainted(caches: Sequence[Path], task: str) -> None:
    """People whom one of several caches teaches and another holds out: scores on them flatter."""
    learnt: dict[str, set[Path]] = defaultdict(set)
    held_out: dict[str, set[Path]] = defaultdict(set)
    for path in caches:
        for video in Cache(path).videos():
            splits = {split_of(video, one) for one in tasks_in(task)} - {None}
            for split in splits:
                (learnt if split == "train" else held_out)[person_of(video)].add(path)
    met = sorted(who for who, there in held_out.items() if learnt[who] - there)
    if met:
        more = ", ..." if len(met) > NAMED else ""
        datasets = {Cache(path).header.get("dataset") for path in caches}
        chance = "" if len(datasets) == 1 else ", unless different people have the same name"
        say(
            f"{len(met)} people are learnt from in one cache and held out in another "
            f"({', '.join(met[:NAMED])}{more}): scores on them flatter{chance}"
        )
