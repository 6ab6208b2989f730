"""Predictions over time as a picture: mean, one standard deviation, pseudo-labels, annotations.

Of an Affective Process also what paper 000's Figure 4 shows: the frames that were its context, as
dots on the pseudo-labels, and functions drawn from it, as light lines that begin anew with every
window. The darker part of the band is the deviation that is the latent's alone.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and each line also has its
own width or dashes. A frame without a face is a gap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affcache.targets import CONTINUOUS
from affcache.windows import Sequence
from stages.train.figures.attention import draw_attention
from stages.train.heads import Sizes
from stages.train.inference import Predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, SKY, ORANGE, BLACK, GREY = "#0072B2", "#56B4E9", "#E69F00", "#000000", "#BBBBBB"


def draw(path: Path, sizes: Sizes, sequence: Sequence, predicted: Predicted) -> None:
    """Write a PNG with one panel per target that is a number, and one per task of classes.

    A head that attends to past frames has one more, below (`attention_panel`).

    Parameters
    ----------
    path : the file
    sequence : its time, pseudo-labels and, where there are any, labels
    predicted : the head's mean, standard deviation and details
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
    attention = predicted.details.get("attention")
    traces = len(numbers) + len(classes)
    count = traces + (attention is not None)
    inches = float(np.clip(seconds * 0.6, 9, 24))
    figure = Figure(figsize=(inches, 2.4 * count + 1.1))
    FigureCanvasAgg(figure)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, target) in zip(panels, numbers.items(), strict=False):
        _panel(panel, sequence, predicted, target)
        panel.set_ylabel(name)
    for panel, task in zip(panels[len(numbers) : traces], classes, strict=True):
        _strips(panel, sequence, predicted.mean[:, sizes.columns(task)], sizes.targets[task])
    if attention is not None:
        draw_attention(panels[-1], sequence.time, attention)
    panels[-1].set_xlabel("time (s)")
    panels[0].set_title(sequence.id, loc="left", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = min(len(labels), int(inches / 1.5))
    figure.legend(handles, labels, loc="upper right", ncols=columns, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.96 if columns == len(labels) else 0.93))
    figure.savefig(path, dpi=110)


def _panel(panel: Axes, sequence: Sequence, predicted: Predicted, target: int) -> None:
    time, mean = sequence.time, predicted.mean[:, target]
    shown = [mean]
    panel.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    if np.isfinite(sequence.pseudo[:, target]).any():
        shown.append(sequence.pseudo[:, target])
        panel.plot(time, shown[-1], color=ORANGE, linewidth=0.7, label="pseudo-labels", zorder=1)
    shown += _bands(panel, time, predicted, target)
    shown += _functions(panel, sequence, predicted, target)
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


def _bands(panel: Axes, time: np.ndarray, predicted: Predicted, target: int) -> list[np.ndarray]:
    """One standard deviation, and within it the latent's share; returns the outer ends."""
    if predicted.std is None:
        return []
    mean, latent = predicted.mean[:, target], predicted.details.get("latent_std")
    bands = [("± 1 std", predicted.std[:, target], 0.18)]
    if latent is not None:
        bands.append(("± 1 std of z", latent[:, target], 0.35))
    for label, std, alpha in bands:
        panel.fill_between(
            time,
            mean - std,
            mean + std,
            color=BLUE,
            alpha=alpha,
            linewidth=0,
            label=label,
            zorder=2,
        )
    return [mean - bands[0][1], mean + bands[0][1]]


def _functions(
    panel: Axes, sequence: Sequence, predicted: Predicted, target: int
) -> list[np.ndarray]:
    """Drawn functions, and dots where the context was; returns the functions."""
    context, said = predicted.details.get("context"), sequence.pseudo[:, target]
    if context is not None and np.isfinite(said[context]).any():
        at = sequence.time[context]
        panel.scatter(at, said[context], s=7, color=BLACK, linewidths=0, label="context", zorder=3)
    samples = predicted.details.get("samples")
    if samples is None:
        return []
    functions = samples[..., target]
    borders = np.flatnonzero(np.diff(predicted.details["window"])) + 1
    for number, part in enumerate(np.split(np.arange(len(functions)), borders)):
        lines = panel.plot(
            sequence.time[part], functions[part], color=SKY, linewidth=0.7, alpha=0.8, zorder=2
        )
        lines[0].set_label("f(., z)" if number == 0 else "")
    return [functions]


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
