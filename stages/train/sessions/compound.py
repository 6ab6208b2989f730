"""What stands behind `affcache compound`: a multi-task run in, mixed expressions per frame out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from affcache.errors import LabelError, RunError
from affcache.metrics import f1_macro
from affcache.store import Cache
from affcache.table import show
from affcache.targets import FIXED
from affcache.windows import Sequence as FrameSequence
from stages.train import data
from stages.train.compounds import Category, load, scores
from stages.train.device import choose
from stages.train.evaluation import means
from stages.train.experiments.fewshot import FewShotSettings
from stages.train.run import Run, open_run
from stages.train.sessions.fewshot import checked, learnt

TASKS = ("va", "expr", "au")  # what eq. 10 asks
ZERO, FEW = "zero-shot", "few-shot"


def compound_command(
    folder: Path,
    cache_path: Path | None,
    names: str,
    labels: Path | None,
    out: Path | None,
    device_name: str,
    as_json: bool,
    shots: Path | None,
    iterations: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Classify every frame of a cache, write a CSV per video, print shares and scores.

    With `shots`, once more by the run's network fine-tuned on them (see `FewShotSettings`).
    """
    run = open_run(folder)
    missing = [task for task in TASKS if task not in run.sizes.targets]
    if missing:
        raise RunError(
            f"{folder}: does not predict {', '.join(missing)}; compound expressions need a run of "
            "va+expr+au, such as facebehaviornet or mt-gru"
        )
    categories = load(names)
    cache = Cache(cache_path or run.config["cache"]["path"])
    data.same_fingerprint(run.config["cache"], cache)
    sequences = data.for_run(cache, run.sizes, run.config["pseudo"], run.pseudo_attributes())
    truth = read_labels(labels, categories, sequences) if labels else {}
    target, device = out or folder / "compound" / cache.path.stem, choose(device_name)
    found, few = {}, None  # what is wrong with the shots is said before anything is written
    if shots:
        examples = read_labels(shots, categories, sequences)
        counts = checked(shots, examples, truth, categories, sequences)
        settings = FewShotSettings(iterations=iterations, learning_rate=learning_rate, seed=seed)
        found[FEW] = learnt(run, examples, counts, sequences, settings, device)
        few = {**asdict(settings), "shots": counts}
    found = {ZERO: classified(run, sequences, categories, device), **found}
    results: dict[str, dict[str, Any]] = {}
    for method, tables in found.items():
        own = target if method == ZERO else target / method
        own.mkdir(parents=True, exist_ok=True)
        for sequence, table in zip(sequences, tables, strict=True):
            write_csv(own / f"{sequence.id}.csv", sequence, categories, table)
        results[method] = {
            "shares": shares(categories, tables),
            "scores": scored(categories, sequences, tables, truth) if labels else None,
        }
    document: dict[str, Any] = {
        "run": str(folder),
        "cache": str(cache.path),
        "categories": names,
        **results[ZERO],
        "few_shot": few and {**few, **results[FEW]},
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print(document, f"{names}: frames by category, of {len(sequences)} videos")
    click.echo(f"a CSV for each video in {target}{f', few-shot in {target / FEW}' if few else ''}")


def _print(zero: Mapping[str, Any], title: str) -> None:
    """Shares and scores of the document; where there is a few-shot result, both beside each other.

    Shares are of all frames, those that were learnt from among them; scores never are.
    """
    few = zero["few_shot"]
    if few is None:
        show(title, zero["shares"])
        if zero["scores"]:
            show("zero-shot, over all labelled frames", [zero["scores"]])
        return
    rows = [
        {"category": a["category"], "shots": few["shots"][a["category"]]}
        | {ZERO: a["frames"], FEW: b["frames"]}
        for a, b in zip(zero["shares"], few["shares"], strict=True)
    ]
    show(title, rows)
    if zero["scores"]:
        both = [
            {"score": name, ZERO: value, FEW: few["scores"][name]}
            for name, value in zero["scores"].items()
        ]
        show("over all labelled frames", both)


def classified(
    run: Run,
    sequences: Sequence[FrameSequence],
    categories: Sequence[Category],
    device: torch.device,
) -> list[np.ndarray]:
    """Scores (T, categories) of every video, NaN in frames without a face."""
    sizes, found = run.sizes, []
    for rows in means(run, sequences, device):
        affect, expressions, units = (rows[:, sizes.columns(task)] for task in TASKS)
        valence = affect[:, FIXED["va"].index("valence")]
        found.append(scores(categories, expressions, units, valence, sizes.targets["au"]))
    return found


def write_csv(
    path: Path, sequence: FrameSequence, categories: Sequence[Category], table: np.ndarray
) -> None:
    """One row per frame: frame, time (s), category, then every category's score."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "time", "category", *(c.name for c in categories)])
        for frame, row in enumerate(table):
            there = bool(np.isfinite(row).all())
            name = categories[int(row.argmax())].name if there else ""
            values = [f"{value:.6f}" for value in row] if there else [""] * len(row)
            writer.writerow([frame, f"{sequence.time[frame]:.6f}", name, *values])


def shares(categories: Sequence[Category], found: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """How many frames each category was the answer for."""
    rows = np.concatenate([*found])
    chosen = rows[np.isfinite(rows).all(axis=1)].argmax(axis=1)
    counts = np.bincount(chosen, minlength=len(categories))
    return [
        {"category": c.name, "frames": int(n), "share": float(n / max(len(chosen), 1))}
        for c, n in zip(categories, counts, strict=True)
    ]


def read_labels(
    path: Path, categories: Sequence[Category], sequences: Sequence[FrameSequence]
) -> dict[str, np.ndarray]:
    """Annotated categories by video, (T,) indices, -1 where there is none.

    The file has the columns video, frame and category.

    Raises
    ------
    LabelError
        If a line names a video, frame or category that there is not.
    """
    names, lengths = [c.name for c in categories], {s.id: len(s) for s in sequences}
    found = {video: np.full(length, -1) for video, length in lengths.items()}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"video", "frame", "category"} <= {*(reader.fieldnames or ())}:
            raise LabelError(f"{path}: expected the columns video, frame, category")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if row["video"] not in lengths:
                raise LabelError(f"{where}: no video {row['video']!r} in the cache")
            frame = int(row["frame"]) if row["frame"].isdecimal() else -1
            if not 0 <= frame < lengths[row["video"]]:
                raise LabelError(
                    f"{where}: frame {row['frame']!r}, expected 0 to {lengths[row['video']] - 1}"
                )
            if row["category"] not in names:
                raise LabelError(
                    f"{where}: category {row['category']!r}, expected one of {', '.join(names)}"
                )
            found[row["video"]][frame] = names.index(row["category"])
    return found


def scored(
    categories: Sequence[Category],
    sequences: Sequence[FrameSequence],
    found: Sequence[np.ndarray],
    truth: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The paper's measures over labelled frames with a face.

    Returns
    -------
    "frames"; "UAR", the mean recall of the categories that occur, which is the mean diagonal of the
    confusion matrix ("Diag." in Table VI); "F1", the mean over categories.
    """
    labels = np.concatenate([truth[s.id] for s in sequences])
    rows = np.concatenate([*found])
    known = (labels >= 0) & np.isfinite(rows).all(axis=1)
    if not known.any():
        return {"frames": 0, "UAR": None, "F1": None}
    y, p = labels[known], rows[known].argmax(axis=1)
    recalls = [float((p[y == c] == c).mean()) for c in np.unique(y)]
    return {
        "frames": int(known.sum()),
        "UAR": float(np.mean(recalls)),
        "F1": f1_macro(y, p, len(categories)),
    }
