"""A simulated cache, and beside it what the best possible estimators achieve on its test split.

No video is made: the features, pseudo-labels and labels are drawn (`process`, `observation`,
`circumplex`) and published as an extraction publishes them. `OUT.truth.json` beside the cache holds
the settings, each video's truth and the ceilings (`oracles`).

>>> import tempfile
>>> from stages.simulate.cache import CacheSettings, simulate_cache, truth
>>> folder = Path(tempfile.mkdtemp())
>>> small = CacheSettings(videos=6, frames=80, seed=1, missing=0.1)
>>> document = simulate_cache(folder / "small.zarr", small)
>>> document == truth(folder / "small.zarr")
True
>>> document["simulated"], document["videos"]["s1_v00000"]["split"]
(True, 'train')
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affcache import __version__
from affcache.arrays import read_json, write_json
from affcache.errors import SimulationError
from affcache.progress import Progress
from affcache.publish import VideoWriter, claim, create, published_fingerprint, video_fingerprint
from affcache.schema import FORMAT_VERSION
from affcache.store import Cache, unsealed, write_labels
from stages.simulate import circumplex, observation
from stages.simulate.people import dropped, fold_of, person_name, split_of, video_name
from stages.simulate.process import Drawn, draw
from stages.simulate.settings import Backbone, CacheSettings, Process

__all__ = ["Backbone", "CacheSettings", "Process", "simulate_cache", "truth"]

ABOUT = (
    "SIMULATED: features and labels are drawn from a random model. Nobody felt, showed or "
    "annotated anything here. Good for checking what a method recovers of a known truth; says "
    "nothing about real affect."
)
MODEL = 1  # raised when the same settings make other bytes
CHUNK = 64  # videos drawn at once


def simulate_cache(path: Path, settings: CacheSettings, workers: int = 1) -> dict[str, Any]:
    """Write a simulated cache and its truth; videos that are there already are kept.

    Parameters
    ----------
    path : the cache's folder, with the same settings or not there yet
    settings : what to draw
    workers : threads; their number changes nothing

    Returns
    -------
    What `truth(path)` reads: "settings"; "videos", by id: "subject", "split", "lag" in frames and
    "changes", the frames at which its labels jump.

    Raises
    ------
    SimulationError
        If there is a cache of other settings.
    """
    plain = json.loads(json.dumps(asdict(settings)))
    fields = {
        "format_version": FORMAT_VERSION,
        "simulated": MODEL,
        "process": plain["process"],
        "backbone": plain["backbone"],
    }
    _refuse_other(path, plain)
    provenance = {
        "affcache": __version__,
        "made by": "affcache simulate cache",
        "about": ABOUT,
        "settings": plain,
    }
    create(path, "simulated", fields, provenance)
    videos: dict[str, Any] = {}
    with unsealed(path), Progress("simulating", settings.videos, "videos") as progress:
        for sequence in _write_all(path, settings, fields, workers):
            videos[sequence.id] = sequence.facts
            progress.advance()
    document = {
        "about": ABOUT,
        "simulated": True,
        "affcache": __version__,
        "settings": plain,
        "videos": videos,
    }
    write_json(beside(path), document)
    return truth(path)


def truth(path: Path) -> dict[str, Any]:
    """The document beside a simulated cache, as `simulate_cache` returned it.

    Raises
    ------
    SimulationError
        If there is none.
    """
    if not beside(path).is_file():
        raise SimulationError(
            f"{path}: has no truth beside it; {beside(path).name} is written by "
            "`affcache simulate cache`"
        )
    return read_json(beside(path))


def beside(path: Path) -> Path:
    """Where a cache's truth lies."""
    return path.with_name(f"{path.name}.truth.json")


class Written(NamedTuple):
    """A video that is published: its id, and what the truth says of it."""

    id: str
    facts: dict[str, Any]


def _refuse_other(path: Path, plain: Mapping[str, Any]) -> None:
    if not (path / "zarr.json").exists():
        return
    there = Cache(path).header.get("provenance", {}).get("settings")
    if there != plain:
        raise SimulationError(
            f"{path}: holds a cache of other settings; choose another folder or remove this one"
        )


def _write_all(
    path: Path, settings: CacheSettings, fields: Mapping[str, Any], workers: int
) -> Iterator[Written]:
    weights = observation.network(settings.backbone)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, settings.videos, CHUNK):
            videos = range(first, min(first + CHUNK, settings.videos))
            drawn = draw(settings, videos)

            def write(row: int, drawn: Drawn = drawn, videos: Sequence[int] = videos) -> Written:
                one = Drawn(*(array[row] for array in drawn))
                return _write(path, settings, fields, weights, videos[row], one)

            yield from pool.map(write, range(len(videos)))


def _write(
    path: Path,
    settings: CacheSettings,
    fields: Mapping[str, Any],
    weights: observation.Network,
    video: int,
    drawn: Drawn,
) -> Written:
    name = video_name(settings.seed, video)
    facts: dict[str, Any] = {
        "subject": person_name(settings.seed, video % settings.people),
        "split": split_of(settings, video),
        "lag": int(drawn.lag),
        "changes": changes(settings, drawn),
    }
    _publish(path, settings, fields, weights, video, drawn)
    attributes: dict[str, Any] = {
        "subject": facts["subject"],
        "split": dict.fromkeys(settings.tasks, facts["split"]),
        "lag": facts["lag"],
        "changes": facts["changes"],
    }
    if settings.folds is not None:
        attributes["folds"] = dict.fromkeys(settings.tasks, fold_of(settings, video))
    labels = labelled(settings.tasks, drawn.labels.astype(np.float32))
    gone = dropped(settings, video)
    write_labels(path, name, {t: rows for t, rows in labels.items() if t not in gone}, attributes)
    return Written(name, facts)


def labelled(tasks: Sequence[str], va: np.ndarray) -> dict[str, np.ndarray]:
    """Annotations of each task that follow from valence and arousal (T, 2)."""
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "va": np.asarray,
        "expr": circumplex.expressions,
        "au": circumplex.units,
        "au_intensity": circumplex.intensities,
    }
    return {task: rules[task](va) for task in tasks}


def changes(settings: CacheSettings, drawn: Drawn) -> list[int]:
    """Frames at which one sequence's labels jump."""
    rows = np.flatnonzero(drawn.fresh) - settings.reach + int(drawn.lag)
    return [int(row) for row in rows]


def _publish(
    path: Path,
    settings: CacheSettings,
    fields: Mapping[str, Any],
    weights: observation.Network,
    video: int,
    drawn: Drawn,
) -> None:
    name = video_name(settings.seed, video)
    drawing = json.dumps([MODEL, asdict(settings) | {"drop": {}}, video], sort_keys=True)
    source = hashlib.sha256(drawing.encode()).hexdigest()
    mine = video_fingerprint(fields, "simulated", source)
    with claim(path, name) as free:
        if not free:
            raise SimulationError(f"{path}: another process writes {name}; try again later")
        if published_fingerprint(path, name) == mine:
            return
        seen = slice(settings.reach, settings.reach + settings.frames)
        shown, valid = drawn.shown[seen], drawn.valid
        rows = observation.features(settings, weights, video, shown, drawn.nuisance[seen])
        rows[~valid] = 0
        arrays = {
            "features": rows,
            "valid": valid,
            "time": np.arange(settings.frames) / settings.fps,
        }
        classified = observation.classified(settings.process, shown)
        for task, said in pseudo(settings.tasks, classified).items():
            arrays[f"pseudo_{task}"] = np.where(valid[:, None], said, np.nan)
        with VideoWriter(path, name, {}) as writer:
            writer.append(arrays)
            writer.publish(
                {
                    "fps": settings.fps,
                    "source": f"{name} (simulated)",
                    "source_sha256": source,
                    "face": "simulated",
                    "fingerprint": mine,
                }
            )


def pseudo(tasks: Sequence[str], va: np.ndarray) -> dict[str, np.ndarray]:
    """W's answers for each task that it has, from its valence and arousal (T, 2)."""
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "va": np.asarray,
        "expr": circumplex.soft_expressions,
        "au": circumplex.soft_units,
    }
    return {task: rule(va) for task, rule in rules.items() if task in tasks}
