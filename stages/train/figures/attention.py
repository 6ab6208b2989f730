"""Attention over past frames as a picture below the traces (paper 001, Figure 3).

One column per frame, one row per number of frames that an attended state lies back, the darker the
more weight. The highest row belongs to the empty state with which a stretch of n frames begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_attention(panel: Axes, time: np.ndarray, attention: np.ndarray) -> None:
    """Fill a panel.

    Parameters
    ----------
    time : (T,) seconds
    attention : (T, n) weights that add up to 1, the frame before last, the empty state first; NaN
        where there is no face, which stays white
    """
    n = attention.shape[1]
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    known = attention[np.isfinite(attention)]
    panel.imshow(
        attention[:, ::-1].T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=max(float(known.max()), 1 / n) if known.size else 1,
        extent=(time[0] - step / 2, time[-1] + step / 2, 0.5, n + 0.5),
    )
    rows = sorted({1, n // 2, n - 1} - {0, n})
    panel.set_yticks([*rows, n], [*map(str, rows), "start"], fontsize=7)
    panel.set_ylabel("attention to\nframes before")
