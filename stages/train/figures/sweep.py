"""The paper's Figure 3: accuracy against the number of context frames, for each way to choose them.

A colour per target; lowest ||sigma_C|| is dashed, largest has diamonds, random has crosses, and the
pseudo-labels are level lines, as in paper 000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES: dict[str, dict[str, Any]] = {
    "lowest": {"linestyle": (0, (4, 1.5)), "linewidth": 2.0},
    "largest": {"linestyle": "-", "marker": "D", "markersize": 3.5, "linewidth": 1.0},
    "random": {"linestyle": "-", "marker": "x", "markersize": 4.5, "linewidth": 1.0},
}
MOST = 5  # targets of which each has lines of its own; of more, their mean


def draw_sweep(path: Path, document: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Write the PNG.

    Parameters
    ----------
    document : of `sweep.sweep`
    columns : keys of its points to draw, such as "ccc_valence"
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if len(columns) > MOST:
        columns = [f"{columns[0].split('_')[0]}_mean"]
    figure = Figure(figsize=(8.6, 4.8))
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    points, baseline = document["points"], document["pseudo-labels"]
    for column, colour in zip(columns, COLOURS, strict=False):
        name = column.split("_", 1)[1]
        for rule, style in LINES.items():
            own = [point for point in points if point["selection"] == rule]
            if own:
                x, y = [p["context"] for p in own], [p[column] for p in own]
                panel.plot(x, y, color=colour, label=f"{name}, {rule}", **style)
        if baseline is not None:
            panel.axhline(
                baseline[column],
                color=colour,
                linestyle=(0, (1, 2)),
                linewidth=1.2,
                label=f"{name}, pseudo-labels",
            )
    best = document["best"]
    panel.axvline(best["context"], color="#BBBBBB", linewidth=0.8, zorder=0)
    panel.set_title(
        f"best: {best['selection']} {best['context']} "
        f"(mean {document['metric']} {best['score']:.3f} on {document['split']})",
        loc="left",
        fontsize=10,
    )
    panel.set_xlabel("context frames")
    panel.set_ylabel(document["metric"])
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
