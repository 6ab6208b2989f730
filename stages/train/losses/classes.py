"""Losses of expressions and action units: a frame teaches only what somebody annotated in it.

Paper 004, section 3.3, equations 1, 2 and 4. Valence and arousal have theirs in
`stages.train.losses.regression`, whose convention holds here: what does not count has no value and
no gradient of any kind, and a batch in which nothing counts costs exactly 0.

Convention: logits are before softmax or sigmoid; expressions are columns that add up to 1 (one 1
among zeros where somebody chose one), NaN in all of them where nobody did; action units are columns
of 0 and 1, each of which may be NaN by itself.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.train.losses.regression import average, counted

OTHERS = ("shared", "each")


def smoothed(truth: Tensor, kept: float, others: str = "shared") -> Tensor:
    """Weights of log-probabilities in eq. 4, from labels (..., k) that add up to 1.

    The annotated class weighs `kept` (lambda). Printed, each of the six others weighs 1 - lambda
    ("each"): 1.5 in all for lambda = 0.9, so that the best probability of a class that is surely
    right is 0.9 / 1.5 = 0.6, and the paper's own threshold of 0.8 for confident images (3.4) would
    never be passed. Label smoothing as it is usually meant shares 1 - lambda among them ("shared"),
    and its best probability is 0.9.

    >>> import torch
    >>> smoothed(torch.tensor([0, 1, 0]), 0.9)
    tensor([0.0500, 0.9000, 0.0500])
    """
    rest = 1 - kept
    if others == "shared":
        rest /= max(truth.shape[-1] - 1, 1)
    return kept * truth + rest * (1 - truth)


def soft_cross_entropy(
    truth: Tensor, logits: Tensor, mask: Tensor, kept: float = 1.0, others: str = "shared"
) -> Tensor:
    """-sum of w_i log z_i per frame, averaged over the frames that count (paper 004, eq. 4).

    Equation 4 is printed without its minus. Minimised like that it would drive the annotated
    class's probability to 0, so the minus is meant, and is here.

    Parameters
    ----------
    truth : (B, L, k) expressions, NaN where there is none
    logits : (B, L, k)
    mask : (B, L) bool, the frames that count
    kept, others : see `smoothed`; 1.0 is plain cross entropy

    Returns
    -------
    A scalar in nats; 0 where no frame is annotated.
    """
    counts = counted(truth, mask).all(-1)
    nowhere = ~counts.unsqueeze(-1)
    weights = smoothed(truth.masked_fill(nowhere, 0.0), kept, others)
    log_probability = F.log_softmax(logits.masked_fill(nowhere, 0.0), dim=-1)
    return average(-(weights * log_probability).sum(-1), counts)


def binary_cross_entropy(truth: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of single action units (paper 004, eq. 2), averaged over all that count.

    Where every unit of a frame is annotated that is the equation, averaged over frames; a unit that
    is not annotated is left out of both the sum and the count.

    Parameters
    ----------
    truth : (B, L, k) of 0 and 1 (or shares in between), NaN where there is none
    logits : (B, L, k)
    mask : (B, L) bool, the frames that count
    """
    counts = counted(truth, mask)
    y, s = (values.masked_fill(~counts, 0.0) for values in (truth, logits))
    return average(F.binary_cross_entropy_with_logits(s, y, reduction="none"), counts)


def circle(truth: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """Multi-label circle loss (paper 004, eq. 1), averaged over frames with an annotated unit.

    log(1 + sum over absent units of e^s) + log(1 + sum over present ones of e^-s): soft maxima that
    push the highest absent unit below 0 and the lowest present one above it, so that the units of a
    frame are judged together. A unit that is not annotated is in neither sum.

    Takes what `binary_cross_entropy` takes.
    """
    counts = counted(truth, mask)
    s = logits.masked_fill(~counts, 0.0)
    present = counts & (truth > 0.5)
    absent = counts & ~present
    return average(_soft_maximum(s, absent) + _soft_maximum(-s, present), counts.any(-1))


def _soft_maximum(scores: Tensor, of: Tensor) -> Tensor:
    """log(1 + sum of e^score) over the entries of `of`, (B, L, k) to (B, L), without overflow."""
    there = scores.masked_fill(~of, float("-inf"))
    return F.pad(there, (1, 0)).logsumexp(-1)
