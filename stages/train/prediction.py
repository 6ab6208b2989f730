"""A trained run on new material: a table and a picture per video.

A video is first extracted by a process of its own, with the backbone of the run's cache, because
stage two knows stage one only by its cache.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import affcache
from affcache.errors import VideoError
from affcache.progress import Progress, say
from affcache.store import Cache
from affcache.targets import CONTINUOUS
from affcache.windows import Sequence
from stages.train import contexts, data, inference
from stages.train.device import described
from stages.train.figures.drawing import Pictures
from stages.train.heads import Sizes
from stages.train.inference import Predicted
from stages.train.run import Run

FILES = ("csv", "png")
STD_PARTS = ("decoder_std", "latent_std")  # of the labels about f(., z), and of f(., z) over z


def predict(
    run: Run,
    target: Path,
    out: Path | None,
    device: torch.device,
    context: str | None = None,
    samples: int = 0,
) -> list[dict[str, Any]]:
    """Predict every video of a cache, or one video file; returns a row per video.

    Parameters
    ----------
    target : a cache (a folder or packed) or a video file
    out : folder of the CSV and PNG files; None is `predictions/<name>` in the run
    context : how a head chooses its context frames, such as "lowest:10"; None is as trained
    samples : how many coherent functions to draw from a head that has a latent

    Raises
    ------
    CacheError
        If the cache was extracted in another way than the run's.
    VideoError
        If the video cannot be extracted.
    """
    folder = out or run.folder / "predictions" / target.stem
    is_video = target.is_file() and not zipfile.is_zipfile(target)
    cache = Cache(extract(run, target, folder) if is_video else target)
    data.same_fingerprint(run.config["cache"], cache)
    recipe = run.recipe
    sizes = run.sizes
    sequences = data.for_run(cache, sizes, run.config["pseudo"], run.pseudo_attributes())
    head, standing = run.trained_head(device)
    contexts.choose(head, recipe.head, context)
    say(f"predicting with {run.folder} (iteration {standing.iteration}) on {described(device)}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    pictures: Pictures | None = None
    with Progress("predicting", len(sequences), "videos") as progress:
        for sequence in sequences:
            (predicted,) = inference.predict(head, [sequence], recipe.windows.test_length, device)
            if samples:
                length = recipe.windows.test_length
                predicted.details.update(inference.sample(head, sequence, length, samples, device))
            write_csv(folder / f"{sequence.id}.csv", sizes, sequence, predicted)
            pictures = pictures or Pictures(sizes, "attention" in predicted.details)
            pictures.draw(folder / f"{sequence.id}.png", sequence, predicted)
            if predicted.details:
                write_details(folder / f"{sequence.id}.npz", sequence, predicted.details)
            rows.append(_summary(folder, sizes, sequence, predicted))
            progress.advance(note=sequence.id)
    return rows


def extract(run: Run, video: Path, folder: Path) -> Path:
    """Make a cache of a bare video beside its predictions, as the run's own cache was made."""
    out = folder / f"{video.stem}.zarr"
    command = ["-m", "affcache", "extract", "--video", str(video), "--out", str(out)]
    backbone = backbone_name(run.config["cache"].get("fields", {}))
    if backbone is not None:
        command += ["--backbone", backbone]
    here = str(Path(affcache.__file__).parents[1])
    path = os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH")) if p)
    say(f"extracting {video} to {out}")
    anew = f"; to extract it anew, remove {out}" if out.exists() else ""
    done = subprocess.run(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, stdout=2, check=False
    )
    if done.returncode != 0:
        raise VideoError(f"{video}: could not be extracted (its reason is above){anew}")
    return out


def backbone_name(fields: Mapping[str, Any]) -> str | None:
    """Which `--backbone` a cache was made with, by its fingerprint's fields."""
    backbone = fields.get("backbone")
    name = backbone.get("name") if isinstance(backbone, Mapping) else backbone
    return name if isinstance(name, str) else None


def write_csv(path: Path, sizes: Sizes, sequence: Sequence, predicted: Predicted) -> None:
    """One row per frame: frame, time (s), valid, then each target and its standard deviations.

    Fields are empty where there is no face; a head without uncertainty has no deviations, and one
    that tells their sources apart has a column for each (their squares add up).
    """
    names = [name for columns in sizes.targets.values() for name in columns]
    kinds = {"": predicted.mean}
    if predicted.std is not None:
        kinds["_std"] = predicted.std
        parts = (part for part in STD_PARTS if part in predicted.details)
        kinds |= {f"_{part}": predicted.details[part] for part in parts}
    columns = [f"{name}{kind}" for name in names for kind in kinds]
    values = np.stack(list(kinds.values()), axis=-1).reshape(len(sequence), -1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "time", "valid", *columns])
        for frame, row in enumerate(values):
            writer.writerow(
                [
                    frame,
                    f"{sequence.time[frame]:.6f}",
                    int(sequence.valid[frame]),
                    *("" if np.isnan(value) else f"{value:.6f}" for value in row),
                ]
            )


def write_details(path: Path, sequence: Sequence, details: Mapping[str, np.ndarray]) -> None:
    """What the head knows beyond the CSV, each (frame, ...), beside the frames' time."""
    arrays: dict[str, Any] = {"time": sequence.time, **details}
    np.savez_compressed(path, **arrays)


def _summary(
    folder: Path, sizes: Sizes, sequence: Sequence, predicted: Predicted
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video": sequence.id,
        "frames": len(sequence.valid),
        "with a face": int(sequence.valid.sum()),
    }
    known = np.isfinite(predicted.mean).all(axis=1)
    for task, names in sizes.targets.items():
        said = predicted.mean[known, sizes.columns(task)]
        if task in CONTINUOUS:
            means = said.mean(axis=0).tolist() if known.any() else [None] * len(names)
            row |= {f"mean {name}": mean for name, mean in zip(names, means, strict=True)}
        else:
            row[f"mostly {task}"] = names[int(said.mean(axis=0).argmax())] if known.any() else None
    return row | {kind: str(folder / f"{sequence.id}.{kind}") for kind in FILES}
