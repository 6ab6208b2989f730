"""A cache without a video, in which a sequence's context tells what no single frame can.

Labels are slow random walks about a level of their own per sequence. Features show the walk and
the level mixed through random tanh units under strong noise that is independent from frame to
frame; the pseudo-labels are the labels under such noise, too. So whoever gathers the level from
other frames does better than whoever looks at one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affcache.publish import create
from affcache.store import seal, write_labels
from tests.caches import publish_video

FIELDS = {"format_version": 1, "backbone": {"name": "mini-xception"}, "what": "simulated"}


def simulate(
    path: Path,
    *,
    people: tuple[int, int, int] = (24, 6, 10),
    frames: int = 150,
    width: int = 32,
    missing: float = 0.05,
    seed: int = 0,
    labelled: bool = True,
) -> Path:
    """Write a cache of one video a person; returns its path.

    Parameters
    ----------
    people : how many in training, validation and test
    frames : of each video
    width : of the features
    missing : share of frames without a face
    labelled : whether annotations are written
    """
    draw = np.random.default_rng(seed)
    mixing, second = draw.normal(size=(4, 48)), draw.normal(size=(48, width)) / np.sqrt(48)
    create(path, "simulated", FIELDS, {})
    splits = [
        s for s, n in zip(("train", "validation", "test"), people, strict=True) for _ in range(n)
    ]
    for number, split in enumerate(splits):
        video = f"v{number:03d}"
        level = draw.normal(0, 0.35, size=2)
        slow = _smooth(draw.normal(size=(frames + 100, 2)), 25)[100:]
        labels = np.clip(level + 0.2 * slow, -1, 1).astype(np.float32)
        shown = labels + draw.normal(0, 0.45, labels.shape)
        hint = level + draw.normal(0, 0.45, labels.shape)
        latent = np.tanh(np.concatenate([shown, hint], axis=1) @ mixing)
        features = (latent @ second + draw.normal(0, 0.1, (frames, width))).astype(np.float32)
        valid = draw.random(frames) >= missing
        pseudo = np.clip(labels + draw.normal(0, 0.45, labels.shape), -1, 1).astype(np.float32)
        publish_video(path, video, features, valid, pseudo)
        if labelled:
            labels[: frames // 30] = np.nan
            write_labels(path, video, {"va": labels}, {"subject": video, "split": {"va": split}})
    seal(path)
    return path


def _smooth(noise: np.ndarray, frames: float) -> np.ndarray:
    """White noise through two one-pole filters, brought back to unit variance."""
    keep = np.exp(-1 / frames)
    for _ in range(2):
        state = np.zeros(noise.shape[1])
        filtered = np.empty_like(noise)
        for t, row in enumerate(noise):
            state = keep * state + (1 - keep) * row
            filtered[t] = state
        noise = filtered
    return noise / noise.std()
