"""The few-shot half of `affcache compound`: examples checked, a network fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from affcache.errors import LabelError
from affcache.progress import say
from affcache.windows import Sequence as FrameSequence
from stages.train import inference
from stages.train.compounds import Category
from stages.train.device import described
from stages.train.experiments.fewshot import FewShotSettings, fine_tuned
from stages.train.run import Run

Frames = Mapping[str, np.ndarray]  # by video, (T,) indices of categories, -1 where there is none


def checked(
    path: Path,
    shots: Frames,
    truth: Frames,
    categories: Sequence[Category],
    sequences: Sequence[FrameSequence],
) -> dict[str, int]:
    """How many examples with a face each category has.

    Raises
    ------
    LabelError
        If a video is scored, too (its other frames are almost its examples), or the examples do
        not show two categories.
    """
    for video, frames in truth.items():
        if (frames >= 0).any() and (shots[video] >= 0).any():
            raise LabelError(
                f"{path}: video {video!r} is in --labels, too; what is learnt from cannot be scored"
            )
    faces = np.concatenate([shots[s.id][s.valid] for s in sequences])
    counts = np.bincount(faces[faces >= 0], minlength=len(categories))
    if (counts > 0).sum() < 2:
        raise LabelError(
            f"{path}: {counts.sum()} frames with a face, of {(counts > 0).sum()} categories; "
            "expected examples of two or more"
        )
    return {c.name: int(n) for c, n in zip(categories, counts, strict=True)}


def learnt(
    run: Run,
    shots: Frames,
    counts: Mapping[str, int],
    sequences: Sequence[FrameSequence],
    settings: FewShotSettings,
    device: torch.device,
) -> list[np.ndarray]:
    """Probabilities (T, categories) of every video, NaN in frames without a face."""
    length, (network, _) = run.recipe.windows.test_length, run.trained_head(device)
    truth = [shots[s.id] for s in sequences]
    say(f"fine-tuning on {sum(counts.values())} frames, {described(device)}")
    if unseen := [name for name, count in counts.items() if not count]:
        say(f"no example of {', '.join(unseen)}: hardly ever the answer")
    head = fine_tuned(network, sequences, truth, len(counts), length, settings, device)
    return [one.mean for one in inference.predict(head, sequences, length, device)]
