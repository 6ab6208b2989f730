"""Annotations: one reader per format, all giving one row per decoded video frame.

Convention: valence before arousal in [-1, 1], NaN where there is none; expressions and action
units in the order of `affcache.schema`, -1 where there is none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from affcache.labels.annotation import Annotation
    from affcache.manifest import Row

READERS: dict[str, str] = {
    "affwild2": "affcache.labels.affwild2:read",
    "sewa": "affcache.labels.sewa:read",
    "frame-csv": "affcache.labels.frame_csv:read",
}


def read(label_format: str, row: Row, time: np.ndarray, scale: float = 1.0) -> Annotation:
    """A row's annotations, brought to the frames of its video.

    Parameters
    ----------
    label_format : a name in `READERS`
    row : whose `annotations` are read
    time : (frame,) float64, presentation times in seconds
    scale : what the files' valence and arousal are divided by

    Raises
    ------
    LabelError
        If a file breaks its format; the message names file and line.
    """
    module, name = READERS[label_format].split(":")
    annotation: Annotation = getattr(importlib.import_module(module), name)(row, time, scale)
    return annotation
