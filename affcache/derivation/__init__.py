"""A cache of derived features that records its parent and its recipe (paper 003, section IV.B).

Features go through a chain (`affcache.derivation.chain`), fitted block by block on the training
split alone (`affcache.derivation.fitting`); labels, pseudo-labels, times and boxes stay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from affcache import __version__, publish, store
from affcache.derivation.chain import Chain
from affcache.derivation.fitting import fit_projection, fit_scaling, pieces_of
from affcache.errors import CacheError
from affcache.progress import Progress
from affcache.schema import FORMAT_VERSION, LABEL_ARRAYS, PSEUDO_ARRAYS, TASKS, VIDEO_ARRAYS
from affcache.store import Cache, Video
from affcache.table import show
from affcache.targets import split_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A chain before it is fitted.

    Attributes
    ----------
    pca : share of the variance to keep (below 1) or number of components; None: no projection
    window : frames to pool over; None: no pooling
    align : "causal" or "centred"
    zscore : whether to standardise
    """

    pca: float | None
    window: int | None
    align: str
    zscore: bool

    def check(self) -> None:
        """Refuse a recipe that does nothing, or asks for what cannot be."""
        if self.pca is None and self.window is None and not self.zscore:
            raise CacheError("nothing to derive: give --pool with --window, --pca or --zscore")
        if self.pca is not None and not (
            0 < self.pca < 1 or (self.pca >= 1 and float(self.pca).is_integer())
        ):
            raise CacheError(
                f"--pca {self.pca:g}: a share of the variance below 1, or a whole number"
            )
        if self.window is not None and self.window < 1:
            raise CacheError(f"--window {self.window}: at least one frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What was made: videos, frames, widths, training frames, components and their share."""

    videos: int
    frames: int
    width: int
    derived_width: int
    train_frames: int
    components: int | None
    share: float | None


def show_derived(
    cache: Path,
    out: Path,
    *,
    pca: float | None,
    window: int | None,
    align: str,
    zscore: bool,
    task: str | None,
    as_json: bool,
) -> None:
    """Derive, and print one row about it."""
    recipe = Recipe(pca=pca, window=window, align=align, zscore=zscore)
    made = derive(cache, out, recipe, task)
    row = {
        "videos": made.videos,
        "frames": made.frames,
        "fitted on frames": made.train_frames,
        "features": made.width,
        "components": made.components,
        "share of variance": made.share,
        "derived features": made.derived_width,
    }
    show(f"{out} from {cache}", [row], as_json=as_json)


def derive(path: Path, out: Path, recipe: Recipe, task: str | None = None) -> Derived:
    """Make the derived cache; what is already derived is kept.

    Labels, pseudo-labels, times and boxes are carried over; further streams are not.

    Parameters
    ----------
    path : the parent, a folder or a packed zip
    out : the new cache's folder
    recipe : what to do
    task : whose training split is fitted on; None takes the only one that has a training split

    Raises
    ------
    CacheError
        If there is no training split for a recipe that needs one, features differ in width, a
        derived value does not fit float16, or `out` holds another cache.
    """
    recipe.check()
    cache = Cache(path)
    if out.resolve() == path.resolve():
        raise CacheError(f"{out}: is the parent itself; the derived features need another folder")
    videos = cache.videos()
    width = _width(cache, videos)
    fits = recipe.pca is not None or recipe.zscore
    task, training = _training(cache, videos, task) if fits else (None, [])
    fields = _fields(cache, recipe, task, training)
    # Before anything is fitted, which may take hours: is `out` free for what comes of it?
    publish.create(out, cache.header["dataset"], fields, _provenance(cache, 0, None))
    chain = Chain(window=recipe.window, align=recipe.align)
    variances, total = np.empty(0), math.nan
    if recipe.pca is not None:
        projection, variances, total = fit_projection(training, width, recipe.pca)
        chain = replace(chain, projection=projection)
    if recipe.zscore:
        chain = fit_scaling(training, width, chain)
    share = float(variances.sum() / total) if recipe.pca is not None else None
    with store.unsealed(out):
        provenance = _provenance(cache, len(variances), share)
        store.write_group(out, {"affcache": Cache(out).header | {"provenance": provenance}})
        derived_width = _write(cache, videos, out, fields, chain, width)
    return Derived(
        videos=len(videos),
        frames=sum(len(video) for video in videos),
        width=width,
        derived_width=derived_width,
        train_frames=sum(int(video.array("valid").sum()) for video in training),
        components=len(variances) if recipe.pca is not None else None,
        share=share,
    )


def _width(cache: Cache, videos: Sequence[Video]) -> int:
    if not videos:
        raise CacheError(f"{cache.path}: holds no video yet")
    widths = {video.array("features").shape[1]: video.id for video in videos}
    if len(widths) > 1:
        (one, a), (other, b) = list(widths.items())[:2]
        raise CacheError(f"{cache.path}: video {a} has {one} features a frame, {b} has {other}")
    return int(next(iter(widths)))


def _training(cache: Cache, videos: Sequence[Video], task: str | None) -> tuple[str, list[Video]]:
    """The videos to fit on, and whose split says so."""
    by_task = {
        name: [v for v in videos if split_of(v, name) == "train"]
        for name in ([task] if task else TASKS)
    }
    there = {name: found for name, found in by_task.items() if found}
    same = len({tuple(v.id for v in found) for found in there.values()}) == 1
    if not there:
        raise CacheError(
            f"{cache.path}: no video is in the training split{f' of {task}' if task else ''}, and "
            "--pca and --zscore are fitted on nothing else; write splits with `affcache label`, or "
            "[split] in the spec of an import"
        )
    if not same:
        raise CacheError(
            f"{cache.path}: the training splits of {', '.join(there)} differ; say --task"
        )
    return next(iter(there.items()))


def _fields(
    cache: Cache, recipe: Recipe, task: str | None, training: Sequence[Video]
) -> dict[str, Any]:
    fitted = sorted([video.id, str(video.attributes.get("fingerprint"))] for video in training)
    return {
        "format_version": FORMAT_VERSION,
        "parent": {"dataset": cache.header["dataset"], "fingerprint": cache.fingerprint},
        "recipe": {
            "order": ["pca", "pool", "zscore"],
            "pca": recipe.pca,
            "pool": "avgstd" if recipe.window is not None else None,
            "window": recipe.window,
            "align": recipe.align if recipe.window is not None else None,
            "zscore": recipe.zscore,
        },
        "fitted_on": {
            "task": task,
            "videos": len(fitted),
            "sha256": hashlib.sha256(json.dumps(fitted).encode()).hexdigest(),
        }
        if fitted
        else None,
        "dtype": "float16",
    }


def _provenance(cache: Cache, components: int, share: float | None) -> dict[str, Any]:
    return {
        "affcache": __version__,
        "made by": "affcache derive",
        "components": components or None,
        "share_of_variance": share,
        "parent_fields": cache.header.get("fields", {}),
        "parent_provenance": cache.header.get("provenance", {}),
    }


def _write(
    cache: Cache,
    videos: Sequence[Video],
    out: Path,
    fields: dict[str, Any],
    chain: Chain,
    width: int,
) -> int:
    frames = sum(len(video) for video in videos)
    with Progress("deriving", frames, "frames") as progress:
        for video in videos:
            _write_video(video, out, fields, chain, width, progress.advance)
            arrays = {task: video.label(task) for task in LABEL_ARRAYS}
            there = {task: rows for task, rows in arrays.items() if rows is not None}
            if there or video.label_attributes:
                store.write_labels(out, video.id, there, video.label_attributes)
    for name in cache.pseudo_names():
        sets = {
            video.id: {
                task: rows
                for task in PSEUDO_ARRAYS
                if (rows := video.pseudo(name, task)) is not None
            }
            for video in videos
        }
        present = {video_id: rows for video_id, rows in sets.items() if rows}
        store.write_pseudo(out, name, cache.pseudo_attributes(name), present)
    return chain.width(width)


def _write_video(
    video: Video,
    out: Path,
    fields: dict[str, Any],
    chain: Chain,
    width: int,
    tell: Callable[[int], None],
) -> None:
    mine = dict(video.attributes)
    want = publish.video_fingerprint(fields, str(mine.get("face")), str(mine.get("source_sha256")))
    with publish.claim(out, video.id) as free:
        if not free:
            raise CacheError(f"{out}: another process writes video {video.id}; try again later")
        if publish.published_fingerprint(out, video.id) == want:
            tell(len(video))
            return
        carried = {n: video.array(n) for n in VIDEO_ARRAYS if n != "features" and video.has(n)}
        features, valid = video.array("features"), np.array(carried["valid"])
        with publish.VideoWriter(out, video.id, {}) as writer:
            for piece in pieces_of(video, width, chain):
                part = slice(piece.start, piece.stop)
                rows = chain.apply(features, valid, piece.start, piece.stop)
                writer.append({"features": rows} | {n: a[part] for n, a in carried.items()})
                tell(piece.stop - piece.start)
            parent = {"fingerprint": want, "parent_fingerprint": mine.get("fingerprint")}
            writer.publish(mine | parent)
