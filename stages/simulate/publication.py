"""One simulated video as a cache keeps it: features, streams and pseudo-labels, then annotations.

Whatever is written follows from the settings and the video's number, so a video that is there with
the same fingerprint is the same and is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import SimulationError
from affcache.publish import VideoWriter, claim, published_fingerprint, video_fingerprint
from affcache.schema import ArraySpec
from affcache.store import write_labels
from affcache.targets import FIXED, SPLIT_OF
from stages.simulate import circumplex, observation
from stages.simulate.ceilings import follows
from stages.simulate.observation import Network
from stages.simulate.people import dropped, fold_of, person_name, split_of, video_name
from stages.simulate.process import Drawn
from stages.simulate.settings import CacheSettings

MODEL = 1  # raised when the same settings make other bytes
FEATURES = "features"


def networks(settings: CacheSettings) -> dict[str, Network]:
    """The fixed random network behind the features and behind each further stream, by name."""
    own = {FEATURES: observation.network(settings.backbone)}
    return own | {
        name: observation.network(settings.backbone, name, width)
        for name, width in settings.streams.items()
    }


def publish(
    path: Path,
    settings: CacheSettings,
    fields: Mapping[str, Any],
    weights: Mapping[str, Network],
    video: int,
    drawn: Drawn,
) -> None:
    """Write one video, unless it is there.

    Parameters
    ----------
    path : the cache's folder
    fields : what decides the cache's fingerprint
    weights : as `networks` gives them
    video : counted from 0
    drawn : this video's arrays, without the axis of sequences

    Raises
    ------
    SimulationError
        If another process writes the same video.
    """
    name = video_name(settings.seed, video)
    drawing = json.dumps([MODEL, asdict(settings) | {"drop": {}}, video], sort_keys=True)
    source = hashlib.sha256(drawing.encode()).hexdigest()
    mine = video_fingerprint(fields, "simulated", source)
    with claim(path, name) as free:
        if not free:
            raise SimulationError(f"{path}: another process writes {name}; try again later")
        if published_fingerprint(path, name) == mine:
            return
        specs = {stream: _stream(stream) for stream in settings.streams}
        with VideoWriter(path, name, specs) as writer:
            writer.append(_arrays(settings, weights, video, drawn))
            writer.publish(
                {
                    "fps": settings.fps,
                    "source": f"{name} (simulated)",
                    "source_sha256": source,
                    "face": "simulated",
                    "fingerprint": mine,
                }
            )


def annotate(path: Path, settings: CacheSettings, video: int, drawn: Drawn) -> None:
    """Write one video's labels, without those of the tasks that it goes without."""
    known = facts(settings, video, drawn)
    tasks = [*settings.tasks, *(SPLIT_OF[task] for task in settings.tasks if task in SPLIT_OF)]
    attributes = known | {"split": dict.fromkeys(tasks, known["split"])}
    if settings.folds is not None:
        attributes["folds"] = dict.fromkeys(tasks, fold_of(settings, video))
    if "au_intensity" in settings.tasks:
        attributes["au_intensity_names"] = list(FIXED["au"])
    kept = [task for task in settings.tasks if task not in dropped(settings, video)]
    labels = follows(drawn.labels.astype(np.float32), kept)
    write_labels(path, video_name(settings.seed, video), labels, attributes)


def facts(settings: CacheSettings, video: int, drawn: Drawn) -> dict[str, Any]:
    """What the truth says of one video."""
    return {
        "subject": person_name(settings.seed, video % settings.people),
        "split": split_of(settings, video),
        "lag": int(drawn.lag),
        "changes": changes(settings, drawn),
    }


def changes(settings: CacheSettings, drawn: Drawn) -> list[int]:
    """Frames at which one sequence's labels jump."""
    rows = np.flatnonzero(drawn.fresh) - settings.reach + int(drawn.lag)
    return [int(row) for row in rows]


def pseudo(tasks: Sequence[str], va: np.ndarray) -> dict[str, np.ndarray]:
    """W's answers for each task, from its valence and arousal (T, 2)."""
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "va": np.asarray,
        "expr": circumplex.soft_expressions,
        "au": circumplex.soft_units,
        "au_intensity": circumplex.intensities,
    }
    return {task: rules[task](va) for task in tasks}


def _arrays(
    settings: CacheSettings, weights: Mapping[str, Network], video: int, drawn: Drawn
) -> dict[str, np.ndarray]:
    seen = slice(settings.reach, settings.reach + settings.frames)
    shown, valid = drawn.shown[seen], drawn.valid
    arrays = {"valid": valid, "time": np.arange(settings.frames) / settings.fps}
    for stream, network in weights.items():
        own = None if stream == FEATURES else stream
        rows = observation.features(settings, network, video, shown, drawn.nuisance[seen], own)
        rows[~valid] = 0
        arrays[stream] = rows
    classified = observation.classified(settings.process, shown)
    for task, said in pseudo(settings.tasks, classified).items():
        arrays[f"pseudo_{task}"] = np.where(valid[:, None], said, np.nan)
    return arrays


def _stream(name: str) -> ArraySpec:
    return ArraySpec(
        dims=("frame", name),
        dtype="float16",
        sizes=(None,),
        missing=0.0,
        meaning="a simulated stream, of the same frame as the features; zero without a face",
    )
