"""Fitting paper 003's feature chains (section IV.B) on caches that are larger than the memory.

The features of all training videos are blocks of rows over the cache's Zarr arrays, each a slice of
a memory map that is read when it is needed; dask's threads work through them. Principal components
come from the covariance where it fits (up to EXACT features), and from subspace iteration above
(the 50 thousand features of LGBP-TOP): a few passes over the data with as many columns as
components are asked for. See `affcache.derivation.chain` for the chain itself.

dask is imported here alone, and only when something is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from affcache.derivation.chain import Chain, Projection, components_for, scaling_of, signed
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
ROUNDING = 1e-10  # of the largest
LANES = 4

Components = tuple[np.ndarray, np.ndarray]  # variances (k,) falling, components (k, D)


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
    count, array = rows.count, rows.array()
    if count < 2:
        raise CacheError(f"{count} training frames with a face: too few for principal components")
    mean, spread = _compute("features' mean", array.mean(axis=0), array.var(axis=0))
    total = float(spread.sum()) * count / (count - 1)
    if not total > 0:
        raise CacheError("the training features do not vary, so there are no components")
    solve = _exact if width <= EXACT else _iterated
    variances, components = solve(rows, mean, total, asked)
    keep = components_for(variances, total, asked)
    return Projection(mean, signed(components[:keep])), variances[:keep], total


def fit_scaling(videos: Sequence[Video], width: int, chain: Chain) -> Chain:
    """The chain with the scaling that standardises its results on the frames with a face."""
    rows = training_rows(videos, width, chain)
    array = rows.array()
    mean, variance = _compute("chain's mean", array.mean(axis=0), array.var(axis=0))
    return replace(chain, scaling=scaling_of(mean, variance, rows.count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A chain's results for all frames with a face, in blocks that are made when they are needed.

    Attributes
    ----------
    pieces : the blocks' frames, each with at least one face
    chain : what they go through
    width : how many results a frame has
    """

    pieces: tuple[Piece, ...]
    chain: Chain
    width: int

    @property
    def count(self) -> int:
        """How many frames with a face there are."""
        return sum(piece.count for piece in self.pieces)

    def block(self, k: int) -> np.ndarray:
        """Block k, (n, width) float64."""
        piece = self.pieces[k]
        features, valid = piece.video.array("features"), np.array(piece.video.array("valid"))
        rows = self.chain.apply(features, valid, piece.start, piece.stop)
        there: np.ndarray = rows[valid[piece.start : piece.stop]]
        return there

    def array(self) -> da.Array:
        """All of them, (count, width), as one lazy dask array of row blocks."""
        import dask.array

        return dask.array.map_blocks(
            lambda block_id: self.block(block_id[0]),
            chunks=(tuple(piece.count for piece in self.pieces), (self.width,)),
            dtype=np.float64,
            meta=np.empty((0, 0)),
        )


def training_rows(videos: Sequence[Video], width: int, chain: Chain) -> Rows:
    """A chain's results for the training videos, whose features have this width."""
    pieces = tuple(p for video in videos for p in pieces_of(video, width, chain) if p.count)
    if not pieces:
        raise CacheError("no training frame has a face")
    return Rows(pieces=pieces, chain=chain, width=chain.width(width))


def _exact(rows: Rows, mean: np.ndarray, total: float, asked: float) -> Components:
    """All components from the covariance."""
    covariance = _fold("covariance", rows, mean, None)
    variances, vectors = np.linalg.eigh(covariance)
    rank = min(rows.count - 1, len(covariance))
    return np.maximum(variances[::-1][:rank], 0.0), vectors.T[::-1][:rank]


def _iterated(rows: Rows, mean: np.ndarray, total: float, asked: float) -> Components:
    """The leading components by subspace iteration with Rayleigh-Ritz, doubling until they do."""
    count, width, draw = rows.count, rows.width, np.random.default_rng(0)
    limit = min(width, count - 1)
    size = min(limit, 2 * int(asked) + MARGIN if asked >= 1 else 4 * MARGIN)
    basis = np.linalg.qr(draw.normal(size=(width, size)))[0]
    for turn in range(PASSES):
        image = _fold(f"components, pass {turn + 1}", rows, mean, basis)
        variances, turned = np.linalg.eigh(basis.T @ image)
        variances, turned = variances[::-1], turned[:, ::-1]
        vectors, images = basis @ turned, image @ turned
        keep = components_for(variances, total, asked)
        if asked < 1 and 2 * keep > size and size < limit:
            more = draw.normal(size=(width, min(size, limit - size)))
            size += more.shape[1]
            images = np.concatenate([images, more * np.abs(images).max()], axis=1)
        elif _settled(vectors[:, :keep], images[:, :keep], variances[:keep]):
            return np.maximum(variances, 0.0), vectors.T
        basis = np.linalg.qr(images)[0]
        del image, images, vectors  # each as large as the basis, and the next pass makes its own
    raise CacheError(
        f"the components did not settle in {PASSES} passes: many directions vary alike; ask for "
        "another --pca"
    )


def _settled(vectors: np.ndarray, images: np.ndarray, variances: np.ndarray) -> bool:
    """Whether C v = variance v holds for every kept component."""
    rest = np.linalg.norm(images - vectors * variances, axis=0)
    return bool((rest <= TOLERANCE * variances[-1] + ROUNDING * variances[0]).all())


def _fold(label: str, rows: Rows, mean: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """The covariance of all rows (D, D), or what it makes of a basis (D, k).

    dask would hold many partial sums of a tree, or read blocks ahead of a slow sum; here every lane
    has one sum, and a task both reads a block and adds it.
    """
    import dask

    shape = (rows.width, rows.width if basis is None else basis.shape[1])

    def add(total: np.ndarray, k: int) -> np.ndarray:
        centred = rows.block(k) - mean
        total += centred.T @ (centred if basis is None else centred @ basis)
        return total

    grow = dask.delayed(add, traverse=False)
    lanes = [dask.delayed(np.zeros)(shape) for _ in range(LANES)]
    for k in range(len(rows.pieces)):
        lanes[k % LANES] = grow(lanes[k % LANES], k)
    total, *others = _compute(label, *lanes)
    for other in others:
        total += other
    total /= rows.count - 1
    return total


def _compute(label: str, *arrays: Any) -> tuple[np.ndarray, ...]:
    """Compute dask collections together, on threads, with progress."""
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
