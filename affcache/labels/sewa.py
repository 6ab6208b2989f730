"""SEWA as AVEC 2019 distributes it: arousal and valence at 10 Hz, brought to the video's frames.

Header `name;timestamp;arousal;valence;liking`: arousal comes first. Names stand in literal single
quotes and are the file's own; timestamps are seconds, a tenth apart.

The rule: a frame takes the linear interpolation of the two samples around its presentation time.
A frame before the first sample or after the last one takes that sample if it is at most one sample
(0.1 s) away, and is unlabelled otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affcache.labels.annotation import Annotation
from affcache.labels.lines import Line, read_lines
from affcache.manifest import Row

HEADER = ("name", "timestamp", "arousal", "valence", "liking")
PERIOD = 0.1
SLACK = 1e-3
RULE = (
    "linear interpolation of the 10 Hz samples at the frame's presentation time; up to 0.1 s "
    "before the first or after the last sample, that sample; further away no label"
)


class Samples(NamedTuple):
    """A trace: times (sample,) in seconds, rising, and valence, arousal (sample, 2)."""

    time: np.ndarray
    va: np.ndarray


def read(row: Row, time: np.ndarray, scale: float = 1.0) -> Annotation:
    """The annotations of one recording, one row per frame (see `affcache.labels.read`).

    The format fixes the scale, so `scale` is 1.
    """
    samples = read_samples(row.annotations["va"])
    va = at_times(samples, time)
    without = int(np.isnan(va[:, 0]).sum())
    notes = []
    if without:
        notes.append(
            f"va: {len(samples.time)} samples at 10 Hz ({_span(samples.time)}) for {len(time)} "
            f"frames ({_span(time)}); {without} frames are left unlabelled"
        )
    return Annotation(arrays={"va": va}, rule=RULE, notes=tuple(notes))


def at_times(samples: Samples, time: np.ndarray) -> np.ndarray:
    """Valence and arousal at the given times by the module's rule: (frame, 2) float32, or NaN."""
    va = np.full((len(time), 2), np.nan, np.float32)
    if len(samples.time) == 0:
        return va
    reach = PERIOD + SLACK
    near = (time >= samples.time[0] - reach) & (time <= samples.time[-1] + reach)
    for d in range(2):
        va[near, d] = np.interp(time[near], samples.time, samples.va[:, d])
    return va


def read_samples(path: Path) -> Samples:
    """The trace of one label file.

    Raises
    ------
    LabelError
        If the header, a row, the name, the 10 Hz grid or a range is not as AVEC 2019's; the
        message names file and line.
    """
    header, *lines = read_lines(path, ";")
    if tuple(name.lower() for name in header.fields) != HEADER:
        header.wrong(f"header {';'.join(header.fields)!r:.80}, expected {';'.join(HEADER)!r}")
    times, va = np.empty(len(lines)), np.empty((len(lines), 2))
    for k, line in enumerate(lines):
        line.expect(len(HEADER), HEADER)
        name, stamp, arousal, valence, liking = line.fields
        if name != f"'{path.stem}'":
            line.wrong(f"name {name}, expected '{path.stem}' in single quotes")
        times[k] = line.real(stamp, "timestamp")
        line.real(liking, "liking")
        va[k] = line.affect(valence, "valence"), line.affect(arousal, "arousal")
    _check_grid(times, lines)
    return Samples(times, va)


def _check_grid(times: np.ndarray, lines: Sequence[Line]) -> None:
    wrong = np.flatnonzero(np.abs(np.diff(times) - PERIOD) > SLACK)
    if len(times) and times[0] < 0:
        lines[0].wrong(f"timestamp {times[0]:g} is before the video")
    if len(wrong):
        k = int(wrong[0])
        lines[k + 1].wrong(
            f"timestamp {times[k + 1]:g} follows {times[k]:g}, expected {times[k] + PERIOD:g} "
            "(10 Hz)"
        )


def _span(time: np.ndarray) -> str:
    return f"{time[0]:.2f} to {time[-1]:.2f} s" if len(time) else "none"
