"""Recurrence over the frames that count: a gap leaves the state as it was.

A frame without a face says nothing, so a recurrent layer should not be fed the zeros that stand in
its place. The counted frames of each window are moved together, run through the layer at its full
speed, and moved back. Unlike torch's packed sequences that needs no lengths, so nothing waits for
the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def over_counted(causal: Callable[[Tensor], Tensor], rows: Tensor, mask: Tensor) -> Tensor:
    """A causal layer's results, as if the frames that do not count were not in the window.

    Parameters
    ----------
    causal : (B, L, n) to (B, L, m), frame by frame in order; its result at a frame must not depend
        on later ones, because what does not count is moved behind what does
    rows : (B, L, n); anything where the mask is false
    mask : (B, L) bool, the frames that count

    Returns
    -------
    (B, L, m); zeros where the mask is false.
    """
    order = (~mask).int().argsort(dim=-1, stable=True).unsqueeze(-1)
    quiet = rows.masked_fill(~mask.unsqueeze(-1), 0.0)
    made = causal(quiet.take_along_dim(order, dim=-2))
    back = torch.zeros_like(made).scatter(-2, order.expand_as(made), made)
    return back.masked_fill(~mask.unsqueeze(-1), 0.0)
