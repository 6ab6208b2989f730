"""A cache in a notebook: videos by name, arrays as mapped NumPy, the rest one call away.

Nothing is read before it is looked at: a slice of an array is a view of the cache's file.

>>> import affcache
>>> cache = affcache.open(path)
>>> cache
<cache 'simulated': 8 videos, 1600 frames>
>>> video = cache.video("v00")
>>> video
<video 'v00': 200 frames of 64 features, labels va>
>>> video.features[10:13].shape
(3, 64)
>>> video.labels["va"][10:13].shape
(3, 2)
>>> sum(int(video.valid.sum()) for video in cache.videos) <= len(cache.table()) * 200
True
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affcache.arrays import METADATA, read_object
from affcache.errors import CacheError
from affcache.schema import (
    ACTION_UNITS,
    DIMENSIONS,
    EXPRESSIONS,
    LABEL_ARRAYS,
    PSEUDO_ARRAYS,
)
from affcache.store import Cache, Video

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

NAMES: Mapping[str, tuple[Any, ...]] = {
    "dimension": DIMENSIONS,
    "expression": EXPRESSIONS,
    "au": ACTION_UNITS,
    "corner": ("x0", "y0", "x1", "y1"),
    "xy": ("x", "y"),
}


class OpenVideo:
    """One video of an open cache.

    Every array has one row per frame and is a read-only memory map; valence comes before arousal.

    >>> video = affcache.open(path).video("v00")
    >>> video.subject, video.split, video.fps
    ('p00', {'va': 'train'}, 25.0)
    >>> video.arrays
    ['box', 'features', 'landmarks', 'pseudo_va', 'score', 'time', 'valid']
    >>> float(video["time"][25])
    1.0
    """

    def __init__(self, video: Video, pseudo_names: list[str]) -> None:
        self._video, self._pseudo_names = video, pseudo_names

    @property
    def id(self) -> str:
        """Its name in the cache."""
        return self._video.id

    @property
    def attributes(self) -> dict[str, Any]:
        """fps, source (path, sha256, bytes), face and fingerprint."""
        return self._video.attributes

    @property
    def fps(self) -> float | None:
        """Frames per second."""
        found: float | None = self.attributes.get("fps")
        return found

    @property
    def arrays(self) -> list[str]:
        """Names of its own arrays, for `video[name]`."""
        names = self._video.place.members(f"videos/{self.id}")
        return [name for name in names if self._video.has(name)]

    def __getitem__(self, name: str) -> np.ndarray:
        if not self._video.has(name):
            raise CacheError(f"video {self.id} has no array {name!r}, but {', '.join(self.arrays)}")
        return self._video.array(name)

    @property
    def features(self) -> np.ndarray:
        """(frame, feature) float16; zero where there is no face."""
        return self["features"]

    @property
    def valid(self) -> np.ndarray:
        """(frame,) bool, whether there is a face."""
        return self["valid"]

    @property
    def time(self) -> np.ndarray:
        """(frame,) float64, seconds."""
        return self["time"]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Annotations by task: "va" (frame, 2), "expr" (frame,), "au" (frame, 12), ...

        >>> sorted(affcache.open(path).video("v00").labels)
        ['va']
        """
        found = {task: self._video.label(task) for task in LABEL_ARRAYS}
        return {task: rows for task, rows in found.items() if rows is not None}

    @property
    def pseudo(self) -> dict[str, dict[str, np.ndarray]]:
        """Pseudo-labels by who says them ("backbone": the extraction's classifier) and task.

        >>> affcache.open(path).video("v00").pseudo["backbone"]["va"].shape
        (200, 2)
        """
        found = {
            name: {
                task: rows
                for task in PSEUDO_ARRAYS
                if (rows := self._video.pseudo(name, task)) is not None
            }
            for name in ["backbone", *self._pseudo_names]
        }
        return {name: tasks for name, tasks in found.items() if tasks}

    @property
    def subject(self) -> str | None:
        """The person, None where nobody said who it is."""
        found: str | None = self._video.label_attributes.get("subject")
        return found

    @property
    def split(self) -> dict[str, str]:
        """Split by task."""
        found = self._video.label_attributes.get("split")
        return found if isinstance(found, dict) else {}

    def to_xarray(self) -> Dataset:
        """Everything of this video as one xarray Dataset, with `time` along the frames.

        Labels are `label_<task>`, pseudo-labels of a readout are `<name>_<task>`; valence, arousal,
        expressions and action units are coordinates. Nothing is copied.

        >>> data = affcache.open(path).video("v00").to_xarray()
        >>> data.label_va.sel(dimension="arousal").dims
        ('frame',)
        >>> data.swap_dims(frame="time").features.sel(time=slice(1.0, 2.0)).shape
        (26, 64)
        """
        arrays = {
            name: (self._dims(f"videos/{self.id}/{name}"), self[name]) for name in self.arrays
        }
        for task, rows in self.labels.items():
            arrays[f"label_{task}"] = (self._dims(f"labels/{self.id}/{task}", task), rows)
        for name, tasks in self.pseudo.items():
            if name != "backbone":
                arrays |= {
                    f"{name}_{task}": (self._dims(f"pseudo/{name}/{self.id}/{task}", task), rows)
                    for task, rows in tasks.items()
                }
        sizes = {
            d: n for dims, rows in arrays.values() for d, n in zip(dims, rows.shape, strict=True)
        }
        named = {d: list(names) for d, names in NAMES.items() if sizes.get(d) == len(names)}
        if "time" not in arrays:
            raise CacheError(f"video {self.id} has no array 'time'")
        coordinates = {"time": arrays.pop("time"), **named}
        attributes = {**self.attributes, "subject": self.subject, "split": self.split}
        try:
            made: Dataset = _xarray().Dataset(arrays, coordinates, {"id": self.id, **attributes})
        except ValueError as error:
            raise CacheError(f"video {self.id}: {error}; run `affcache verify`") from None
        return made

    def __len__(self) -> int:
        return len(self._video)

    def __repr__(self) -> str:
        labels = f", labels {', '.join(self.labels)}" if self.labels else ""
        width = self.features.shape[1]
        return f"<video {self.id!r}: {len(self)} frames of {width} features{labels}>"

    def _dims(self, name: str, task: str = "") -> list[str]:
        if task == "au_intensity":  # may be of other units than the twelve that "au" names
            return ["frame", "intensity"]
        names = read_object(self._video.place, f"{name}/{METADATA}").get("dimension_names")
        return [str(dim) for dim in names] if isinstance(names, list) else []


class OpenCache:
    """A cache, open for reading.

    >>> cache = affcache.open(path)
    >>> cache.dataset, len(cache), "v03" in cache
    ('simulated', 8, True)
    >>> [video.id for video in cache if video.split["va"] == "test"]
    ['v03', 'v07']
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    @property
    def path(self) -> Path:
        """Its folder or zip."""
        return self._cache.path

    @property
    def dataset(self) -> str:
        """The name of what it was made of."""
        return str(self._cache.header.get("dataset"))

    @property
    def fingerprint(self) -> str:
        """How it was made, as one hash; only caches of one fingerprint may be mixed."""
        return self._cache.fingerprint

    @property
    def fields(self) -> dict[str, Any]:
        """How it was made: what the fingerprint is the hash of."""
        return dict(self._cache.header.get("fields", {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """Who made it, and with what."""
        return dict(self._cache.header.get("provenance", {}))

    @cached_property
    def videos(self) -> tuple[OpenVideo, ...]:
        """All videos, in the order of their ids."""
        names = self._cache.pseudo_names()
        return tuple(OpenVideo(video, names) for video in self._cache.videos())

    def video(self, video_id: str) -> OpenVideo:
        """One video by its id.

        >>> affcache.open(path).video("v7")
        Traceback (most recent call last):
        affcache.errors.CacheError: ...: has no video 'v7'; did you mean 'v07'?
        """
        try:
            return OpenVideo(self._cache.video(video_id), self._cache.pseudo_names())
        except CacheError as error:
            close = sorted(difflib.get_close_matches(video_id, self._cache.video_ids()))
            meant = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
            raise CacheError(f"{error}{meant}") from None

    def table(self) -> list[dict[str, Any]]:
        """One flat row per video, for `pandas.DataFrame(cache.table())`.

        video, subject, frames, seconds, face (frames with one), bytes, and for every task of the
        cache its labelled frames ("va") and split ("va split").

        >>> row = affcache.open(path).table()[0]
        >>> row["video"], row["frames"], row["va split"]
        ('v00', 200, 'train')
        """
        from affcache.summary import video_rows

        rows = video_rows(self._cache)
        tasks = [
            t for t in LABEL_ARRAYS if any(t in row["tasks"] or t in row["split"] for row in rows)
        ]
        plain = ("video", "subject", "frames", "seconds", "face", "bytes")
        return [
            {key: row[key] for key in plain}
            | {task: row["tasks"].get(task, 0) for task in tasks}
            | {f"{task} split": row["split"].get(task) for task in tasks}
            for row in rows
        ]

    def to_xarray(self) -> DataTree:
        """All videos as an xarray DataTree, one node each; nothing is copied.

        >>> affcache.open(path).to_xarray()["v00"].features.shape
        (200, 64)
        """
        nodes = {f"/{video.id}": video.to_xarray() for video in self.videos}
        made: DataTree = _xarray().DataTree.from_dict(nodes)
        return made

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[OpenVideo]:
        return iter(self.videos)

    def __contains__(self, video_id: object) -> bool:
        try:
            return isinstance(video_id, str) and self._cache.video(video_id).id == video_id
        except CacheError:
            return False

    def __repr__(self) -> str:
        frames = sum(len(video) for video in self.videos)
        return f"<cache {self.dataset!r}: {len(self)} videos, {frames} frames>"


def open_cache(path: str | Path) -> OpenCache:
    """Open a cache, a folder or a packed zip; also called `affcache.open`.

    Raises
    ------
    CacheError
        If there is no cache, or one of a newer format.
    """
    return OpenCache(Cache(path))


def _xarray() -> Any:
    try:
        import xarray
    except ImportError:
        raise CacheError("to_xarray needs xarray: python -m pip install xarray") from None
    return xarray
