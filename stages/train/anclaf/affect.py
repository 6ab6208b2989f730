"""The affect loss of paper 001: error, correlation, concordance and ICC, rare labels counting more.

Paper 001, eq. 10 to 14. What is printed cannot be meant in four places:

- eq. 12 to 14 have E[(p - mean p) - (y - mean y)] above the line, which is 0 for any p and y; the
  product of the two, a covariance, is meant, and the coefficients are then the usual ones.
- eq. 10 would minimise the three coefficients, that is, ask for anticorrelation; 1 minus each is
  minimised here (the authors' code takes the negatives, which has the same gradient).
- eq. 10 weighs class i by f_i / F, "the total number of instances" over "a normalisation factor",
  and calls it crucial against imbalance; weights that grow with f_i would strengthen it. Here a
  class weighs 1 / f_i, scaled so that the weights' mean over the training frames is 1 ("inverse");
  "printed" takes f_i at the same scale.
- eq. 10's sum is over classes, yet one class has next to no variance to correlate. A frame takes
  the weight of its class, and all moments are weighted by it: so a series agrees with itself by
  exactly 1 whatever the weights, which does not hold where the covariance alone is weighted.

Each target has its own classes, ten of equal width over [-1, 1], and its own weights.

Convention: moments divide by the sum of the weights (over N, were they 1). Targets are averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.train.losses.regression import FLOOR, average, counted

CLASSES = 10
RULES = ("inverse", "printed", "none")
TERMS = ("rmse", "cor", "ccc", "icc")


def classes(labels: Tensor) -> Tensor:
    """Which of the ten classes of width 0.2 a label lies in: any shape, finite, to long 0..9."""
    return ((labels + 1) * (CLASSES / 2)).floor().long().clamp(0, CLASSES - 1)


def instances(labels: Tensor) -> Tensor:
    """f_i of eq. 10: labels (N, K), NaN where there is none, to counts (K, 10), float64."""
    known = labels.isfinite()
    which = classes(labels.nan_to_num())
    counts = torch.zeros(labels.shape[1], CLASSES, dtype=torch.float64, device=labels.device)
    return counts.scatter_add_(1, which.T, known.T.double())


def class_weights(counts: Tensor, rule: str, limit: float) -> Tensor:
    """Weight of each class, whose mean over the counted instances is 1.

    Parameters
    ----------
    counts : (K, 10) instances
    rule : "inverse", "printed" or "none", see the module
    limit : the most that a class may weigh, in units of the average frame, before the weights are
        brought to mean 1 again; without it a class of three frames would be worth a tenth of all

    Returns
    -------
    (K, 10); 1 for classes without instances, and for all of a target without any
    """
    if rule == "none":
        return torch.ones_like(counts)
    there = counts > 0
    raw = torch.where(there, counts if rule == "printed" else 1 / counts, 0.0)
    for cut in (limit, torch.inf):
        mean = (raw * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
        raw = torch.where(there, raw / mean, 0.0).clamp(max=cut)
    return torch.where(there, raw, 1.0)


def frame_weights(truth: Tensor, table: Tensor) -> Tensor:
    """The weight of every label: truth (B, L, K), NaN where there is none, table (K, 10)."""
    which = classes(truth.nan_to_num())
    return torch.stack([table[k][which[..., k]] for k in range(truth.shape[-1])], dim=-1)


def coefficients(truth: Tensor, said: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """RMSE, COR, CCC and ICC of eq. 11 to 14 per target, weighted, over all rows together.

    ICC is 2 cov / (var + var), which is ICC(3,1) of two raters. `FLOOR` on the variances keeps
    gradients bounded where nothing varies.

    Parameters
    ----------
    truth, said : (N, K), finite
    weight : (N, K), 0 for what does not count

    Returns
    -------
    (K,) by the names of `TERMS`; 0 where nothing counts
    """
    share = weight / weight.sum(0).clamp(min=FLOOR)
    mean_y, mean_p = (share * truth).sum(0), (share * said).sum(0)
    dy, dp = truth - mean_y, said - mean_p
    var_y, var_p = (share * dy.square()).sum(0) + FLOOR, (share * dp.square()).sum(0) + FLOOR
    covariance = (share * dy * dp).sum(0)
    return {
        "rmse": ((share * (said - truth).square()).sum(0) + FLOOR).sqrt() - FLOOR**0.5,
        "cor": covariance / (var_y * var_p).sqrt(),
        "ccc": 2 * covariance / (var_y + var_p + (mean_y - mean_p).square()),
        "icc": 2 * covariance / (var_y + var_p),
    }


def affect_loss(truth: Tensor, said: Tensor, mask: Tensor, table: Tensor) -> dict[str, Tensor]:
    """Eq. 10: RMSE + (1 - COR) + (1 - CCC) + (1 - ICC), over all counted frames of a batch.

    Parameters
    ----------
    truth : (B, L, K) labels, NaN where there is none
    said : (B, L, K) predictions; anything where a frame does not count
    mask : (B, L) bool
    table : (K, 10) class weights

    Returns
    -------
    "loss" and its four terms, scalars; a target with fewer than two counted frames adds exactly 0
    """
    counts = counted(truth, mask)
    weight = frame_weights(truth, table).masked_fill(~counts, 0.0).to(truth)
    y, p = (values.masked_fill(~counts, 0.0) for values in (truth, said.to(truth)))
    found = coefficients(*(rows.flatten(0, 1) for rows in (y, p, weight)))
    enough = counts.sum((0, 1)) > 1
    terms = {
        name: average(value if name == "rmse" else 1 - value, enough)
        for name, value in found.items()
    }
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}
