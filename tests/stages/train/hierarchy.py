"""SIMULATED, as paper 004's heuristic has it: units make expressions, and these make affect.

Twelve units switch on and off at random. Which expression it is follows from three pairs of them by
"one but not both", which no linear layer can tell; valence and arousal are the expression's, a
little of their own added. Features show the units, mixed, beside a person's constant and noise. So
whoever was taught the units has the parts that the other two tasks are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from affcache.publish import create
from affcache.schema import ACTION_UNITS, EXPRESSIONS
from affcache.store import seal, write_labels
from tests.caches import publish_video

COORDINATES = np.array(  # valence, arousal of each expression
    [[0.0, 0.0], [-0.5, 0.6], [-0.6, 0.2], [-0.4, 0.7], [0.8, 0.3], [-0.6, -0.4], [0.3, 0.8]]
)
PAIRS = ((0, 1), (2, 3), (4, 5))


def hierarchy(
    path: Path,
    *,
    people: tuple[int, int, int] = (60, 10, 20),
    frames: int = 80,
    width: int = 64,
    noise: float = 1.0,
    annotated: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Path:
    """Write a cache of one video a person; returns its path.

    Parameters
    ----------
    people : how many in training, validation and test
    noise : standard deviation on every feature
    annotated : task -> how many of the training people have its labels; all where it is not named
    """
    draw = np.random.default_rng(seed)
    mixing = draw.normal(size=(len(ACTION_UNITS), width)) / 2
    create(path, "simulated", {"format_version": 1, "what": "simulated hierarchy"}, {})
    names = ("train", "validation", "test")
    splits = [s for s, n in zip(names, people, strict=True) for _ in range(n)]
    for number, split in enumerate(splits):
        au = switching(draw, frames)
        expr = sum((au[:, a] != au[:, b]) << k for k, (a, b) in enumerate(PAIRS))
        au[expr == len(EXPRESSIONS), PAIRS[0][0]] ^= 1  # there are seven, not eight
        expr[expr == len(EXPRESSIONS)] -= 1
        va = COORDINATES[expr] + draw.normal(0, 0.05, (frames, 2))
        shown = (2 * au - 1) @ mixing + draw.normal(0, 0.5, width)
        features = (shown + draw.normal(0, noise, shown.shape)).astype(np.float32)
        labels = {
            "va": np.clip(va, -1, 1).astype(np.float32),
            "expr": expr.astype(np.int8),
            "au": au.astype(np.int8),
        }
        if split == "train":
            labels = {
                t: r for t, r in labels.items() if number < (annotated or {}).get(t, number + 1)
            }
        video = f"v{number:03d}"
        publish_video(path, video, features, draw.random(frames) > 0.05)
        write_labels(
            path,
            video,
            labels,
            {"subject": video, "split": dict.fromkeys(("va", "expr", "au"), split)},
        )
    seal(path)
    return path


def switching(draw: np.random.Generator, frames: int) -> np.ndarray:
    """Units (frames, 12) of 0 and 1 that change every tenth frame or so, each by itself."""
    first = draw.random(len(ACTION_UNITS)) < 0.5
    flips = draw.random((frames, len(ACTION_UNITS))) < 0.1
    return np.asarray(first ^ (np.cumsum(flips, axis=0) % 2 == 1)).astype(np.int64)
