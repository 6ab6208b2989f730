"""Losses of regression heads: concordance, squared error and likelihood of the frames that count.

Paper 000, App. B, eq. 3, is the concordance that everything is evaluated by; 1 - CCC asks for it
directly. Eq. 2 of the paper's appendix adds half the squared error to it for valence and arousal,
and takes the squared error alone for action units (App. A.2).

Convention: an entry counts where its frame's mask is true and its label is a number. Moments divide
by N. "Pooled" takes all counted frames of a batch as one series, as `affcache evaluate` does over a
test set; "sequence" takes every window by itself, so that differences between people earn nothing.
What does not count has no value and no gradient, even where predictions there are NaN or infinite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.train.gaussians import Gaussian, negative_log_likelihood

OVER = ("pooled", "sequence")
FLOOR = 1e-8  # added to variances: labels lie in [-1, 1], so it is a deviation of 1e-4


def counted(truth: Tensor, mask: Tensor) -> Tensor:
    """Which entries of labels (B, L, K) count, given the frames (B, L) that do: (B, L, K) bool."""
    return mask.unsqueeze(-1) & truth.isfinite()


def average(terms: Tensor, counts: Tensor) -> Tensor:
    """Mean of terms over the entries that count, a scalar; exactly 0 where none does.

    Parameters
    ----------
    terms : any shape; finite where `counts` is true
    counts : bool of the same shape
    """
    return terms.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)


def ccc(truth: Tensor, said: Tensor, mask: Tensor, over: str = "pooled") -> Tensor:
    """Concordance correlation coefficient per target, with gradients (paper 000, App. B, eq. 3).

    2 cov / (var + var + (mean - mean)^2 + FLOOR). The floor keeps the gradient bounded where both
    series are constant, which is 0 here, and costs less than 1e-6 where a standard deviation is
    above 0.1.

    Parameters
    ----------
    truth : (B, L, K) labels, NaN where there is none
    said : (B, L, K) predictions; anything where an entry does not count
    mask : (B, L) bool, the frames that count
    over : "pooled" or "sequence"

    Returns
    -------
    (K,) in [-1, 1] if pooled, else (B, K); 0 where fewer than two frames count.
    """
    counts = counted(truth, mask)
    y, p = (values.masked_fill(~counts, 0.0) for values in (truth, said))
    if over == "pooled":
        counts, y, p = (values.flatten(0, 1) for values in (counts, y, p))
    number = counts.sum(-2, keepdim=True).clamp(min=1)
    mean_y, mean_p = (values.sum(-2, keepdim=True) / number for values in (y, p))
    dy, dp = (y - mean_y).masked_fill(~counts, 0.0), (p - mean_p).masked_fill(~counts, 0.0)
    spread = ((dy.square() + dp.square()).sum(-2, keepdim=True) / number).squeeze(-2)
    covariance = ((dy * dp).sum(-2, keepdim=True) / number).squeeze(-2)
    return 2 * covariance / (spread + (mean_y - mean_p).squeeze(-2).square() + FLOOR)


def ccc_loss(truth: Tensor, said: Tensor, mask: Tensor, over: str = "pooled") -> Tensor:
    """1 - CCC, averaged over the targets (and sequences) that have two counted frames or more.

    Takes what `ccc` takes and returns a scalar in [0, 2]; exactly 0, with gradients of exactly 0,
    where there is nothing to compare.
    """
    counts = counted(truth, mask)
    number = counts.sum((0, 1) if over == "pooled" else 1)
    return average(1 - ccc(truth, said, mask, over), number > 1)


def mse(truth: Tensor, said: Tensor, mask: Tensor) -> Tensor:
    """Squared error averaged over all entries that count: a scalar, 0 where none does."""
    counts = counted(truth, mask)
    y, p = (values.masked_fill(~counts, 0.0) for values in (truth, said))
    return average((y - p).square(), counts)


def gaussian_nll(truth: Tensor, said: Gaussian, mask: Tensor) -> Tensor:
    """-log N(truth; said) in nats, averaged over all entries that count; 0 where none does."""
    counts = counted(truth, mask)
    y, mean = (values.masked_fill(~counts, 0.0) for values in (truth, said.mean))
    std = torch.where(counts, said.std, 1.0)
    return average(negative_log_likelihood(y, Gaussian(mean, std)), counts)
