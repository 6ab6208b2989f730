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

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from affcache import __version__
from affcache.arrays import read_json
from affcache.errors import SimulationError
from affcache.progress import Progress
from affcache.publish import create
from affcache.schema import FORMAT_VERSION
from affcache.store import Cache, ensure_group, unsealed
from stages.simulate.ceilings import Ceilings
from stages.simulate.people import split_of, video_name
from stages.simulate.process import Drawn, draw
from stages.simulate.publication import MODEL, annotate, facts, networks, publish
from stages.simulate.settings import Backbone, CacheSettings, Process

__all__ = ["Backbone", "CacheSettings", "Process", "simulate_cache", "truth"]

ABOUT = (
    "SIMULATED: features and labels are drawn from a random model. Nobody felt, showed or "
    "annotated anything here. Good for checking what a method recovers of a known truth; says "
    "nothing about real affect."
)
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
        "streams": plain["streams"],
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
        for video, known in _write_all(path, settings, fields, ceilings, workers):
            videos[video_name(settings.seed, video)] = known
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
    weights = networks(settings)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, settings.videos, CHUNK):
            videos = range(first, min(first + CHUNK, settings.videos))
            drawn = draw(settings, videos)

            def write(row: int, drawn: Drawn = drawn, videos: Sequence[int] = videos) -> None:
                one = Drawn(*(array[row] for array in drawn))
                publish(path, settings, fields, weights, videos[row], one)
                annotate(path, settings, videos[row], one)

            written = pool.map(write, range(len(videos)))
            splits = np.array([split_of(settings, video) for video in videos])
            training, testing = splits == "train", splits == "test"
            ceilings.train(drawn.labels[training][drawn.valid[training]])
            if testing.any():
                ceilings.test(Drawn(*(array[testing] for array in drawn)))
            for row, _ in enumerate(written):
                own = Drawn(*(array[row] for array in drawn))
                yield videos[row], facts(settings, videos[row], own)
