"""What must hold between the arrays of one video, read block by block: memory stays flat.

Missing values stand exactly where there is no face, and time increases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import numpy as np

from affcache.arrays import read_rows
from affcache.places import Place
from affcache.schema import FACE_ARRAYS

FLOAT16_INFINITY = 0x7C00


def broken_promises(where: Place, group: str, arrays: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each array that breaks what the format promises of it, and that promise.

    Parameters
    ----------
    where : the cache
    group : the video's
    arrays : its arrays, the required ones among them, all of the schema's types and equal rows
    """
    valid = np.concatenate(list(read_rows(where, f"{group}/valid"))).view(np.uint8)
    hidden = valid == 0
    if (valid > 1).any():
        yield "valid", "valid is 0 or 1"
    if not _hold(where, f"{group}/features", hidden, _is_zero_where_hidden):
        yield "features", "features are finite, and zero without a face"
    if not _increases(where, f"{group}/time"):
        yield "time", "time is finite and increases"
    for name in FACE_ARRAYS:
        if name in arrays and not _hold(where, f"{group}/{name}", hidden, _is_nan_where_hidden):
            yield name, f"{name} is NaN exactly without a face"


def _hold(
    where: Place, name: str, hidden: np.ndarray, holds: Callable[[np.ndarray, np.ndarray], bool]
) -> bool:
    """Whether something holds of an array's rows and of which of them show no face."""
    start = 0
    for rows in read_rows(where, name):
        flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        if not holds(flat, hidden[start : start + len(rows)]):
            return False
        start += len(rows)
    return True


def _is_nan_where_hidden(rows: np.ndarray, hidden: np.ndarray) -> bool:
    return bool((np.isnan(rows) == hidden[:, None]).all())


def _is_zero_where_hidden(rows: np.ndarray, hidden: np.ndarray) -> bool:
    """And finite everywhere; float16 is judged by its bits, ten times faster."""
    bits = rows.view(np.uint16) & 0x7FFF
    return not ((bits.size and int(bits.max()) >= FLOAT16_INFINITY) or bits[hidden].any())


def _increases(where: Place, name: str) -> bool:
    last = -math.inf
    for rows in read_rows(where, name):
        if not np.isfinite(rows).all() or not (np.diff(rows, prepend=last) > 0).all():
            return False
        last = rows[-1] if len(rows) else last
    return True
