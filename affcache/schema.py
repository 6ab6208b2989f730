"""Every array a cache can hold: its dimensions, type, meaning, unit and missing value.

Convention: valence comes before arousal, both in [-1, 1]; rows are decoded video frames in
presentation order; pixel coordinates have their origin at the top left corner of the source frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from affcache.errors import CacheError

FORMAT_VERSION = 1
TASKS = ("va", "expr", "au")
DIMENSIONS = ("valence", "arousal")
EXPRESSIONS = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
ACTION_UNITS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One kind of array.

    Attributes
    ----------
    dims : names of the dimensions, "frame" first
    dtype : numpy type name, stored little endian
    sizes : lengths of the dimensions after the first; None where the producer decides
    missing : the value that says "nothing here"
    meaning : what a reader of the array is told, with its unit
    """

    dims: tuple[str, ...]
    dtype: str
    sizes: tuple[int | None, ...] = ()
    missing: float | int | bool = float("nan")
    meaning: str


def _per_frame(dtype: str, missing: float | int | bool, meaning: str) -> ArraySpec:
    return ArraySpec(dims=("frame",), dtype=dtype, missing=missing, meaning=meaning)


def _rows(
    dim: str, size: int | None, dtype: str, missing: float | int | bool, meaning: str
) -> ArraySpec:
    return ArraySpec(
        dims=("frame", dim), sizes=(size,), dtype=dtype, missing=missing, meaning=meaning
    )


_NAN = float("nan")

VIDEO_ARRAYS: dict[str, ArraySpec] = {
    "features": _rows(
        "feature", None, "float16", 0.0, "the backbone's vector; zero without a face"
    ),
    "valid": _per_frame("bool", False, "whether this frame has a face"),
    "time": _per_frame("float64", _NAN, "presentation time in seconds"),
    "box": _rows("corner", 4, "float32", _NAN, "x0, y0, x1, y1 in pixels of the source frame"),
    "landmarks": ArraySpec(
        dims=("frame", "landmark", "xy"),
        sizes=(5, 2),
        dtype="float32",
        meaning="left eye, right eye, nose, left, right mouth corner as seen in the image; pixels",
    ),
    "score": _per_frame("float32", _NAN, "detector probability in [0, 1]"),
    "pseudo_va": _rows("dimension", 2, "float32", _NAN, "valence, arousal from the classifier W"),
    "pseudo_expr": _rows("expression", 7, "float32", _NAN, "expression probabilities from W"),
    "pseudo_au": _rows("au", 12, "float32", _NAN, "action unit probabilities from W"),
    "pseudo_au_intensity": _rows("au", None, "float32", _NAN, "unit intensities from W, 0 to 5"),
}
REQUIRED_ARRAYS = ("features", "valid", "time")
FACE_ARRAYS = ("box", "landmarks")  # where a detector found the face; imported features have none

LABEL_ARRAYS: dict[str, ArraySpec] = {
    "va": _rows("dimension", 2, "float32", _NAN, "annotated valence, arousal in [-1, 1]"),
    "expr": _per_frame("int8", -1, "annotated expression, an index into EXPRESSIONS"),
    "au": _rows("au", 12, "int8", -1, "annotated action units, 0 or 1"),
    "au_intensity": _rows("au", None, "float32", _NAN, "annotated action unit intensities"),
}

PSEUDO_ARRAYS: dict[str, ArraySpec] = {
    "va": _rows("dimension", 2, "float32", _NAN, "pseudo valence, arousal in [-1, 1]"),
    "expr": _rows("expression", 7, "float32", _NAN, "pseudo expression probabilities"),
    "au": _rows("au", 12, "float32", _NAN, "pseudo action unit probabilities"),
    "au_intensity": _rows("au", None, "float32", _NAN, "pseudo action unit intensities, 0 to 5"),
}


def check_rows(name: str, spec: ArraySpec, rows: np.ndarray, where: str) -> np.ndarray:
    """Rows as the schema stores them, little endian and contiguous, or an error that says where.

    Raises
    ------
    CacheError
        If the shape does not fit, or a finite value does not fit the stored type (float16 ends
        at 65,504): nothing is ever stored as an infinity that was not one.
    """
    if rows.ndim != len(spec.dims) or any(
        want is not None and want != have
        for want, have in zip(spec.sizes, rows.shape[1:], strict=False)
    ):
        raise CacheError(
            f"{where}: {name} has shape {rows.shape}, expected {spec.dims} {spec.sizes}"
        )
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(rows, dtype=np.dtype(spec.dtype).newbyteorder("<"))
    if stored.dtype.kind == "f":
        bad = ~np.isfinite(stored) & ~np.isnan(rows)
        if name == "features":
            bad |= np.isnan(stored)
        if bad.any():
            at = np.argwhere(bad)[0]
            raise CacheError(
                f"{where}: {name} at row {at[0]} is {rows[tuple(at)]}, outside the range of "
                f"{spec.dtype}"
            )
    return stored


_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_safe_id(video_id: str) -> bool:
    """Whether an id can be a folder name on every system and inside every archive."""
    return _SAFE_ID.fullmatch(video_id) is not None and not video_id.endswith(".")
