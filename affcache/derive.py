"""Fitting paper 003's feature chains (section IV.B) on caches that are larger than the memory.

The features of all training videos are one dask array of row blocks over the cache's Zarr arrays,
each block a slice of a memory map that is read when it is needed. Principal components come from
the covariance where it fits (up to EXACT features), and from subspace iteration above (the 50
thousand features of LGBP-TOP): a few passes over the data with as many columns as components are
asked for. See `affcache.chain` for the chain itself.

dask is imported here alone, and only when something is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from affcache.chain import Chain, Projection, components_for, scaling_of, signed
from affcache.errors import CacheError
from affcache.progress import Progress
from affcache.store import Video

if TYPE_CHECKING:
    import dask.array as da

EXACT = 2048
BLOCK_BYTES = 1 << 24
MARGIN = 32  # columns of the subspace beyond the components asked for
PASSES = 60
TOLERANCE = 1e-4  # of the smallest variance kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames [start, stop) of a video, `count` of them with a face."""

    video: Video
    start: int
    stop: int
    count: int


def fit_projection(
    videos: Sequence[Video], width: int, asked: float
) -> tuple[Projection, np.ndarray, float]:
    """Principal components of all frames with a face.

    Returns
    -------
    The projection onto as many as were asked for, their variances (over N - 1), the total variance.
    """
    rows = training_rows(videos, width, Chain())
    count = rows.shape[0]
    if count < 2:
        raise CacheError(f"{count} training frames with a face: too few for principal components")
    mean, spread = _compute("features' mean", rows.mean(axis=0), rows.var(axis=0))
    total = float(spread.sum()) * count / (count - 1)
    if not total > 0:
        raise CacheError("the training features do not vary, so there are no components")
    centred = rows - mean
    solve = _exact if width <= EXACT else _iterated
    variances, components = solve(centred, count, total, asked)
    keep = components_for(variances, total, asked)
    return Projection(mean, signed(components[:keep])), variances[:keep], total


def fit_scaling(videos: Sequence[Video], width: int, chain: Chain) -> Chain:
    """The chain with the scaling that standardises its results on the frames with a face."""
    rows = training_rows(videos, width, chain)
    mean, variance = _compute("chain's mean", rows.mean(axis=0), rows.var(axis=0))
    return replace(chain, scaling=scaling_of(mean, variance, rows.shape[0]))


def training_rows(videos: Sequence[Video], width: int, chain: Chain) -> da.Array:
    """A chain's results for all frames with a face: (n, D') float64, lazy, in blocks of rows."""
    import dask.array

    pieces = [p for video in videos for p in pieces_of(video, width, chain) if p.count]
    if not pieces:
        raise CacheError("no training frame has a face")
    columns = chain.width(width)

    def load(block_id: tuple[int, int]) -> np.ndarray:
        piece = pieces[block_id[0]]
        features, valid = piece.video.array("features"), np.array(piece.video.array("valid"))
        rows = chain.apply(features, valid, piece.start, piece.stop)
        there: np.ndarray = rows[valid[piece.start : piece.stop]]
        return there

    return dask.array.map_blocks(
        load,
        chunks=(tuple(p.count for p in pieces), (columns,)),
        dtype=np.float64,
        meta=np.empty((0, 0)),
    )


def _exact(
    centred: da.Array, count: int, total: float, asked: float
) -> tuple[np.ndarray, np.ndarray]:
    """All components from the covariance: variances (D,) falling, components (D, D)."""
    (gram,) = _compute("covariance", centred.T @ centred)
    variances, vectors = np.linalg.eigh(gram / (count - 1))
    rank = min(count - 1, len(gram))
    return np.maximum(variances[::-1][:rank], 0.0), vectors.T[::-1][:rank]


def _iterated(
    centred: da.Array, count: int, total: float, asked: float
) -> tuple[np.ndarray, np.ndarray]:
    """The leading components by subspace iteration with Rayleigh-Ritz, doubling until they do."""
    import dask.array

    width, draw = centred.shape[1], np.random.default_rng(0)
    limit = min(width, count - 1)
    size = min(limit, 2 * int(asked) + MARGIN if asked >= 1 else 4 * MARGIN)
    basis = np.linalg.qr(draw.normal(size=(width, size)))[0]
    for turn in range(PASSES):
        project = centred @ dask.array.from_array(basis, chunks=basis.shape)
        (image,) = _compute(f"components, pass {turn + 1}", centred.T @ project)
        image = image / (count - 1)
        variances, turned = np.linalg.eigh(basis.T @ image)
        variances, turned = variances[::-1], turned[:, ::-1]
        vectors, images = basis @ turned, image @ turned
        keep = components_for(variances, total, asked)
        if asked < 1 and 2 * keep > size and size < limit:
            more = draw.normal(size=(width, min(size, limit - size)))
            size += more.shape[1]
            images = np.concatenate([images, more * np.abs(images).max()], axis=1)
        elif _settled(vectors[:, :keep], images[:, :keep], variances[:keep]) or size == limit:
            return np.maximum(variances, 0.0), vectors.T
        basis = np.linalg.qr(images)[0]
    raise CacheError(
        f"the components did not settle in {PASSES} passes: many directions vary alike; ask for "
        "another --pca"
    )


def _settled(vectors: np.ndarray, images: np.ndarray, variances: np.ndarray) -> bool:
    """Whether C v = variance v holds for every kept component."""
    rest = np.linalg.norm(images - vectors * variances, axis=0)
    return bool((rest <= TOLERANCE * variances[-1]).all())


def _compute(label: str, *arrays: da.Array) -> tuple[np.ndarray, ...]:
    """Compute dask arrays together, on threads, with progress."""
    import dask
    from dask.callbacks import Callback

    optimized = dask.optimize(*arrays)
    total = len({key for array in optimized for key in array.__dask_graph__()})
    with (
        Progress(label, total, "blocks") as progress,
        Callback(posttask=lambda *_: progress.advance()),
    ):
        found: tuple[np.ndarray, ...] = dask.compute(
            *optimized, scheduler="threads", optimize_graph=False
        )
    return found


def pieces_of(video: Video, width: int, chain: Chain) -> Iterator[Piece]:
    """A video in blocks of some megabytes; never shorter than the window that reaches out of it."""
    valid = video.array("valid")
    step = max(1, BLOCK_BYTES // (8 * width), sum(chain.reach))
    for start in range(0, len(valid), step):
        stop = min(start + step, len(valid))
        count = int(valid[start:stop].sum())
        yield Piece(video=video, start=start, stop=stop, count=count)
