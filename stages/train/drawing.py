"""Predictions over time as a picture: mean, one standard deviation, pseudo-labels, annotations.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and each line also has its
own width or dashes. A frame without a face is a gap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affcache.targets import CONTINUOUS
from affcache.windows import Sequence
from stages.train.heads import Sizes
from stages.train.inference import Predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, BLACK, GREY = "#0072B2", "#E69F00", "#000000", "#BBBBBB"


def draw(path: Path, sizes: Sizes, sequence: Sequence, predicted: Predicted) -> None:
    """Write a PNG with one panel per target that is a number, and one per task of classes.

    Parameters
    ----------
    path : the file
    sequence : its time, pseudo-labels and, where there are any, labels
    predicted : the head's mean and standard deviation
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = float(sequence.time[-1] - sequence.time[0])
    numbers = {
        name: sizes.columns(task).start + i
        for task, names in sizes.targets.items()
        if task in CONTINUOUS
        for i, name in enumerate(names)
    }
    classes = [task for task in sizes.targets if task not in CONTINUOUS]
    count = len(numbers) + len(classes)
    figure = Figure(figsize=(float(np.clip(seconds * 0.6, 9, 24)), 2.4 * count + 0.9))
    FigureCanvasAgg(figure)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, target) in zip(panels, numbers.items(), strict=False):
        _panel(panel, sequence, predicted, target)
        panel.set_ylabel(name)
    for panel, task in zip(panels[len(numbers) :], classes, strict=True):
        _strips(panel, sequence, predicted.mean[:, sizes.columns(task)], sizes.targets[task])
    panels[-1].set_xlabel("time (s)")
    panels[0].set_title(sequence.id, loc="left", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=110)


def _panel(panel: Axes, sequence: Sequence, predicted: Predicted, target: int) -> None:
    time, mean = sequence.time, predicted.mean[:, target]
    shown = [mean]
    panel.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    if np.isfinite(sequence.pseudo[:, target]).any():
        shown.append(sequence.pseudo[:, target])
        panel.plot(time, shown[-1], color=ORANGE, linewidth=0.7, label="pseudo-labels", zorder=1)
    if predicted.std is not None:
        low, high = mean - predicted.std[:, target], mean + predicted.std[:, target]
        shown += [low, high]
        panel.fill_between(
            time, low, high, color=BLUE, alpha=0.2, linewidth=0, label="± 1 std", zorder=2
        )
    if np.isfinite(sequence.labels[:, target]).any():
        shown.append(sequence.labels[:, target])
        panel.plot(
            time, shown[-1], color=BLACK, linewidth=1.2, linestyle=(0, (4, 2)), label="annotation"
        )
    panel.plot(time, mean, color=BLUE, linewidth=1.8, label="prediction", zorder=4)
    _mark_gaps(panel, time, sequence.valid)
    reach = max((float(np.nanmax(np.abs(v))) for v in shown if np.isfinite(v).any()), default=0.0)
    reach = max(0.5, min(reach * 1.05, 1.5))
    panel.set_ylim(-reach, reach)
    panel.set_xlim(time[0], max(time[-1], time[0] + 1e-3))
    panel.spines[["top", "right"]].set_visible(False)


def _strips(
    panel: Axes, sequence: Sequence, probabilities: np.ndarray, names: tuple[str, ...]
) -> None:
    """One strip per class, the darker the more probable; frames without a face stay empty."""
    time = sequence.time
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    panel.imshow(
        probabilities.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(time[0] - step / 2, time[-1] + step / 2, -0.5, len(names) - 0.5),
    )
    panel.set_yticks(range(len(names)), names, fontsize=7)


def _mark_gaps(panel: Axes, time: np.ndarray, valid: np.ndarray) -> None:
    """Shade the stretches without a face, half a frame beyond their ends."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(np.int8)))
    half = float(np.median(np.diff(time))) / 2 if len(time) > 1 else 0.5
    for number, (start, stop) in enumerate(edges.reshape(-1, 2)):
        panel.axvspan(
            time[start] - half,
            time[stop - 1] + half,
            color=GREY,
            alpha=0.35,
            linewidth=0,
            label="" if number else "no face",
            zorder=0,
        )
