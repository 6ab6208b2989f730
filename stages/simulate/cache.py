"""A simulated cache, and beside it what the best possible estimators achieve on its test split.

No video is made: the features, pseudo-labels and labels are drawn (`process`, `observation`,
`circumplex`) and published as an extraction publishes them. `OUT.truth.json` beside the cache holds
the settings, each video's truth and the ceilings (`oracles`).

>>> import tempfile
>>> from pathlib import Path
>>> from stages.simulate.cache import CacheSettings, simulate_cache, truth
>>> folder = Path(tempfile.mkdtemp())
>>> small = CacheSettings(videos=6, frames=80, seed=1, missing=0.1)
>>> document = simulate_cache(folder / "small.zarr", small)
>>> document == truth(folder / "small.zarr")
True
>>> document["simulated"], document["videos"]["s1_v00000"]["split"]
(True, 'train')
>>> list(document["ceilings"]["va"])
['pseudo-labels', 'frame', 'window', 'filter', 'smoother']
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from affcache import __version__
from affcache.arrays import read_json
from affcache.errors import SimulationError
from affcache.progress import Progress
from affcache.publish import VideoWriter, claim, create, published_fingerprint, video_fingerprint
from affcache.schema import FORMAT_VERSION
from affcache.store import Cache, ensure_group, unsealed, write_labels
from stages.simulate import circumplex, observation
from stages.simulate.ceilings import Ceilings, follows
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


def simulate_cache(path: Path, settings: CacheSettings, workers: int = 4) -> dict[str, Any]:
    """Write a simulated cache and its truth; videos that are there already are kept.

    Parameters
    ----------
    path : the cache's folder, with the same settings or not there yet
    settings : what to draw
    workers : threads, which mostly wait for the disk; their number changes nothing

    Returns
    -------
    What `truth(path)` reads: "settings"; "ceilings", by task, estimator and metric, such as
    ["va"]["smoother"]["ccc_mean"] and "ccc_mean_matched" (see `oracles` and `ceilings`);
    "training_labels", "mean" and "std" of valence and arousal; "videos", by id: "subject", "split",
    "lag" in frames and "changes", the frames at which its labels jump.

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
    for group in ("videos", "labels"):  # here, because several threads would make it at once
        ensure_group(path / group, {})
    videos: dict[str, Any] = {}
    ceilings = Ceilings(settings)
    with unsealed(path), Progress("simulating", settings.videos, "videos") as progress:
        for video, facts in _write_all(path, settings, fields, ceilings, workers):
            videos[video_name(settings.seed, video)] = facts
            progress.advance()
    document = {
        "about": ABOUT,
        "simulated": True,
        "affcache": __version__,
        "settings": plain,
        "training_labels": ceilings.spread,
        "ceilings": ceilings.scores(),
        "videos": videos,
    }
    partial = beside(path).with_name(f"{beside(path).name}.partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(beside(path))
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


def _refuse_other(path: Path, plain: Mapping[str, Any]) -> None:
    if not (path / "zarr.json").exists():
        return
    there = Cache(path).header.get("provenance", {}).get("settings")
    if there != plain:
        raise SimulationError(
            f"{path}: holds a cache of other settings; choose another folder or remove this one"
        )


def _write_all(
    path: Path,
    settings: CacheSettings,
    fields: Mapping[str, Any],
    ceilings: Ceilings,
    workers: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Write all videos, and let the estimators see those of the test split; video and facts."""
    weights = observation.network(settings.backbone)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, settings.videos, CHUNK):
            videos = range(first, min(first + CHUNK, settings.videos))
            drawn = draw(settings, videos)

            def write(row: int, drawn: Drawn = drawn, videos: Sequence[int] = videos) -> None:
                one = Drawn(*(array[row] for array in drawn))
                _publish(path, settings, fields, weights, videos[row], one)
                _annotate(path, settings, videos[row], one)

            written = pool.map(write, range(len(videos)))
            splits = np.array([split_of(settings, video) for video in videos])
            training, testing = splits == "train", splits == "test"
            ceilings.train(drawn.labels[training][drawn.valid[training]])
            if testing.any():
                ceilings.test(Drawn(*(array[testing] for array in drawn)))
            for row, _ in enumerate(written):
                own = Drawn(*(array[row] for array in drawn))
                yield videos[row], facts(settings, videos[row], own)


def facts(settings: CacheSettings, video: int, drawn: Drawn) -> dict[str, Any]:
    """What the truth says of one video."""
    return {
        "subject": person_name(settings.seed, video % settings.people),
        "split": split_of(settings, video),
        "lag": int(drawn.lag),
        "changes": changes(settings, drawn),
    }


def _annotate(path: Path, settings: CacheSettings, video: int, drawn: Drawn) -> None:
    known = facts(settings, video, drawn)
    attributes = known | {"split": dict.fromkeys(settings.tasks, known["split"])}
    if settings.folds is not None:
        attributes["folds"] = dict.fromkeys(settings.tasks, fold_of(settings, video))
    kept = [task for task in settings.tasks if task not in dropped(settings, video)]
    labels = follows(drawn.labels.astype(np.float32), kept)
    write_labels(path, video_name(settings.seed, video), labels, attributes)


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
