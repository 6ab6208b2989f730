"""Small real caches: simulated features and labels, written as the pipeline writes them.

Labels are slow random walks; features show them through random tanh units under noise, so that a
regression finds most of them; people differ by an offset of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affcache.publish import VideoWriter, create, video_fingerprint
from affcache.store import seal, write_labels

FIELDS = {"decoder": "none", "backbone": {"name": "simulated"}}
FPS = 25.0


def make_cache(
    path: Path,
    *,
    videos: int = 8,
    frames: int | Sequence[int] = 200,
    width: int = 512,
    seed: int = 0,
    subjects: int = 4,
    splits: Sequence[str] | None = None,
    pseudo_va: bool = True,
    labelled: bool = True,
    gaps: bool = True,
    noise: float = 0.5,
) -> Path:
    """Write a sealed cache of videos v00, v01, ... and return its path.

    Parameters
    ----------
    frames : of every video, or one number a video
    width : of the features
    subjects : people p00, p01, ...; video i shows person i % subjects
    splits : one a person; by default the last is "test", the one before "validation" (from three
        people on), the rest "train"
    pseudo_va : whether the backbone has pseudo-labels of its own (the labels under noise)
    labelled : whether annotations are written
    gaps : whether some frames have no face and some no label
    noise : standard deviation of the features' noise
    """
    draw = np.random.default_rng(seed)
    lengths = [frames] * videos if isinstance(frames, int) else list(frames)
    parts = list(splits) if splits is not None else default_splits(subjects)
    mixing = draw.normal(size=(2, width))
    offsets = 0.2 * draw.normal(size=(subjects, 2))
    create(path, "simulated", FIELDS, {"made by": "tests"})
    for i, length in enumerate(lengths):
        person = i % subjects
        va = np.clip(slow(draw, length) * 0.4 + offsets[person], -1, 1).astype(np.float32)
        features = np.tanh(va @ mixing + noise * draw.normal(size=(length, width)))
        pseudo = np.clip(va + 0.3 * draw.normal(size=va.shape), -1, 1)
        valid = ~runs(draw, length, 0.08) if gaps else np.ones(length, bool)
        name = f"v{i:02d}"
        publish_video(path, name, features, valid, pseudo if pseudo_va else None)
        if labelled:
            if gaps:
                va[runs(draw, length, 0.05)] = np.nan
            attributes = {"subject": f"p{person:02d}", "split": {"va": parts[person]}}
            write_labels(path, name, {"va": va}, attributes)
    seal(path)
    return path


def default_splits(subjects: int) -> list[str]:
    """The last person tests, the one before validates if there are three, the others train."""
    held_out = ["validation", "test"] if subjects > 2 else ["test"] * (subjects - 1)
    return ["train"] * (subjects - len(held_out)) + held_out


def publish_video(
    path: Path,
    name: str,
    features: np.ndarray,
    valid: np.ndarray,
    pseudo_va: np.ndarray | None = None,
) -> None:
    """Publish one video: features (frame, width), zeroed where not valid (frame,)."""
    frames = len(features)
    there = np.where(valid, 1.0, np.nan)
    arrays = {
        "features": np.where(valid[:, None], features, 0.0),
        "valid": valid,
        "time": np.arange(frames) / FPS,
        "box": there[:, None] * np.array([10.0, 10.0, 90.0, 90.0]),
        "landmarks": there[:, None, None] * np.full((5, 2), 50.0),
        "score": there * 0.99,
    }
    if pseudo_va is not None:
        arrays["pseudo_va"] = there[:, None] * pseudo_va
    with VideoWriter(path, name, {}) as writer:
        writer.append(arrays)
        writer.publish(
            {
                "fps": FPS,
                "source": f"{name}.mp4",
                "source_sha256": name,
                "face": "largest",
                "fingerprint": video_fingerprint(FIELDS, "largest", name),
            }
        )


def slow(draw: np.random.Generator, frames: int) -> np.ndarray:
    """Two smooth random series (frame, 2) of about unit spread."""
    kernel = np.hanning(25)
    kernel /= np.sqrt(np.sum(kernel**2))
    white = draw.normal(size=(frames + len(kernel) - 1, 2))
    return np.stack([np.convolve(column, kernel, "valid") for column in white.T], axis=1)


def runs(draw: np.random.Generator, frames: int, share: float) -> np.ndarray:
    """A mask (frame,) with runs of 3 to 9 frames that cover about this share."""
    mask = np.zeros(frames, bool)
    for _ in range(max(1, round(share * frames / 6))):
        start = int(draw.integers(frames))
        mask[start : start + int(draw.integers(3, 10))] = True
    return mask
