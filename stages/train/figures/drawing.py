"""Predictions over time as a picture: mean, one standard deviation, pseudo-labels, annotations.

Of an Affective Process also what paper 000's Figure 4 shows: the frames that were its context, as
dots on the pseudo-labels, and functions drawn from it, as light lines that begin anew with every
window. The darker part of the band is the deviation that is the latent's alone.

Of classes a strip each shows the probabilities, with a black line where the class is annotated.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and each line also has its
own width or dashes. A frame without a face is a gap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affcache.targets import CONTINUOUS
from affcache.windows import Sequence
from stages.train.figures.attention import draw_attention
from stages.train.heads import Sizes
from stages.train.inference import Predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, SKY, ORANGE, BLACK, GREY = "#0072B2", "#56B4E9", "#E69F00", "#000000", "#BBBBBB"
DOTS_PER_INCH = 110
LEFT, RIGHT, BOTTOM, ROW = 0.85, 0.15, 0.55, 0.25  # margins and a row of the legend, in inches
FAST = {"compress_level": 2}  # much less time than the default, for files a sixth larger


class Pictures:
    """Draws one video after the other on one figure: new axes take as long as what is on them.

    One panel per target that is a number, one per task of classes, and one below of a head that
    attends to past frames (`draw_attention`).
    """

    def __init__(self, sizes: Sizes, attends: bool) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.sizes = sizes
        self.numbers = {
            name: sizes.columns(task).start + i
            for task, names in sizes.targets.items()
            if task in CONTINUOUS
            for i, name in enumerate(names)
        }
        self.classes = [task for task in sizes.targets if task not in CONTINUOUS]
        count = len(self.numbers) + len(self.classes) + attends
        self.figure = Figure(dpi=DOTS_PER_INCH)
        self.canvas: Any = FigureCanvasAgg(self.figure)  # matplotlib does not type its backends
        self.panels: list[Axes] = list(
            self.figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
        )
        for panel, name in zip(self.panels, self.numbers, strict=False):
            panel.set_ylabel(name)
            panel.spines[["top", "right"]].set_visible(False)
        self.panels[-1].set_xlabel("time (s)")

    def draw(self, path: Path, sequence: Sequence, predicted: Predicted) -> None:
        """Write the PNG of one video.

        Parameters
        ----------
        sequence : its time, pseudo-labels and, where there are any, labels
        predicted : the head's mean, standard deviation and details
        """
        for panel in self.panels:
            for artist in [*panel.lines, *panel.collections, *panel.patches, *panel.images]:
                artist.remove()
        for panel, target in zip(self.panels, self.numbers.values(), strict=False):
            _panel(panel, sequence, predicted, target)
        for panel, task in zip(self.panels[len(self.numbers) :], self.classes, strict=False):
            columns = self.sizes.columns(task)
            said, truth = predicted.mean[:, columns], sequence.labels[:, columns]
            _strips(panel, sequence.time, said, truth, self.sizes.targets[task])
        if "attention" in predicted.details:
            draw_attention(self.panels[-1], sequence.time, predicted.details["attention"])
        first, last = float(sequence.time[0]), float(sequence.time[-1])
        self.panels[0].set_xlim(first, max(last, first + 1e-3))
        self.panels[0].set_title(sequence.id, loc="left", fontsize=11, y=1.0)
        self._arrange(last - first)
        self.canvas.print_png(str(path), pil_kwargs=FAST)

    def _arrange(self, seconds: float) -> None:
        """Size, margins and legend; `tight_layout` would draw everything once more to find them."""
        for legend in [*self.figure.legends]:
            legend.remove()
        handles: dict[Any, Any] = {}
        for panel in self.panels:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        width, height = float(np.clip(seconds * 0.6, 9, 24)), 2.4 * len(self.panels) + 1.1
        columns = max(1, min(len(handles), int(width / 1.5)))
        rows = -(-len(handles) // columns)
        self.figure.set_size_inches(width, height)
        self.figure.subplots_adjust(
            left=LEFT / width,
            right=1 - RIGHT / width,
            bottom=BOTTOM / height,
            top=1 - (0.35 + ROW * rows) / height,
            hspace=0.1,
        )
        if handles:
            self.figure.legend(
                [*handles.values()],
                [*handles],
                loc="upper right",
                ncols=columns,
                frameon=False,
                fontsize=9,
            )


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
    panel: Axes,
    time: np.ndarray,
    probabilities: np.ndarray,
    truth: np.ndarray,
    names: tuple[str, ...],
) -> None:
    """One strip per class, the darker the more probable; frames without a face stay empty."""
    half = _half_a_frame(time)
    panel.imshow(
        probabilities.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(time[0] - half, time[-1] + half, -0.5, len(names) - 0.5),
    )
    panel.set_yticks(range(len(names)), names, fontsize=7)
    runs = [(row, *ends) for row in range(len(names)) for ends in _runs(truth[:, row] == 1)]
    if runs:
        row, start, stop = np.array(runs).T
        panel.hlines(
            row,
            time[start] - half,
            time[stop - 1] + half,
            color=BLACK,
            linewidth=1.6,
            label="annotation",
        )


def _mark_gaps(panel: Axes, time: np.ndarray, valid: np.ndarray) -> None:
    """Shade the stretches without a face, half a frame beyond their ends."""
    half = _half_a_frame(time)
    for number, (start, stop) in enumerate(_runs(~valid)):
        panel.axvspan(
            time[start] - half,
            time[stop - 1] + half,
            color=GREY,
            alpha=0.35,
            linewidth=0,
            label="" if number else "no face",
            zorder=0,
        )


def _runs(mask: np.ndarray) -> np.ndarray:
    """Stretches (n, 2) of frames [start, stop) in which a mask is true."""
    ends = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return np.flatnonzero(ends).reshape(-1, 2)


def _half_a_frame(time: np.ndarray) -> float:
    return float(np.median(np.diff(time))) / 2 if len(time) > 1 else 0.5
