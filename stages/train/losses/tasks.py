"""One row of numbers per frame says something for every task; a frame teaches what it is labelled.

Paper 002, section VI: an output layer whose columns are linear for valence and arousal, logits of a
softmax for the expressions and of sigmoids for the action units; the losses of equations 4 to 7 are
added up.

Convention: columns are those of `Sizes.targets`. What does not count has no value and no gradient,
as in `stages.train.losses.regression`; a batch without a label for a task costs exactly 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.train.losses.classes import soft_cross_entropy
from stages.train.losses.regression import average, ccc_loss, counted
from stages.train.sizes import Sizes


def said(outputs: Tensor, sizes: Sizes) -> Tensor:
    """Outputs (B, L, K) as predictions: probabilities where the task is one of classes."""
    parts = []
    for task in sizes.targets:
        own = outputs[..., sizes.columns(task)]
        if task == "expr":
            own = own.softmax(-1)
        elif task == "au":
            own = own.sigmoid()
        parts.append(own)
    return torch.cat(parts, -1)


def losses(labels: Tensor, outputs: Tensor, mask: Tensor, sizes: Sizes) -> dict[str, Tensor]:
    """A scalar per task: 1 - mean CCC (eq. 2, 6), cross entropy (eq. 4, and over units eq. 5).

    Parameters
    ----------
    labels : (B, L, K), NaN where there is none
    outputs : (B, L, K), before softmax and sigmoid
    mask : (B, L) bool, the frames that count
    sizes : which columns are whose
    """
    terms = {}
    for task in sizes.targets:
        own = sizes.columns(task)
        truth, output = labels[..., own], outputs[..., own]
        if task == "expr":
            terms[task] = soft_cross_entropy(truth, output, mask)
        elif task == "au":
            terms[task] = unit_cross_entropy(truth, output, mask, over="sum")
        else:
            terms[task] = ccc_loss(truth, output, mask)
    return terms


def added(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Terms of a loss, and their sum as "loss"."""
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def unit_cross_entropy(
    truth: Tensor,
    logits: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
    over: str = "mean",
) -> Tensor:
    """Binary cross entropy of a frame's annotated units, averaged over frames that have any.

    Parameters
    ----------
    truth : (B, L, k) of 0 and 1, NaN where a unit is not annotated (delta = 0 in eq. 7)
    logits : (B, L, k)
    mask : (B, L) bool, the frames that count
    weights : (B, L, k) of every unit's term, or None for 1
    over : "sum" over a frame's units (eq. 5), or "mean" over its annotated ones (eq. 7)

    Returns
    -------
    A scalar in nats; 0 where nothing is annotated.
    """
    counts = counted(truth, mask)
    y, s = (values.masked_fill(~counts, 0.0) for values in (truth, logits))
    terms = F.binary_cross_entropy_with_logits(s, y, weights, reduction="none")
    frames = terms.masked_fill(~counts, 0.0).sum(-1)
    if over == "mean":
        frames = frames / counts.sum(-1).clamp(min=1)
    return average(frames, counts.any(-1))
