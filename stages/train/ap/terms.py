"""The terms of an Affective Process' objective (paper 000, eq. 1 and section 3.2.4).

What the readings of the regulariser do was measured on simulated data (400 persons, 96 features,
width 64, 1,000 iterations, one seed): mean CCC raw, and with the spread matched, beside a
likelihood that is averaged or summed over frames. The paper found regularisation on a par with the
likelihood alone (its Table 1: .662 and .660).

    =========  ==================  ================  ==============================================
    reading    likelihood average  likelihood sum    what it wants of L outputs about 0
    =========  ==================  ================  ==============================================
    none       .743  .752          .744  .750
    sum        .049  .521          .495  .744        deviations of 1 / L and means of 0: collapses
    root       .012  .443                            deviations of 1 / sqrt(L) and means of 0, too
    mean       .714  .725          .748  .753        deviations of 1, at a fixed price a sequence
    mixture    .549  .559          .746  .751        the same, or means that vary as much
    average    .380  .386          .745  .751        deviations of sqrt(L)
    batch      .661  .670          .739  .751        as mixture, and sequences may differ
    frames     .707  .748                            deviations of 1 and means of 0, each frame
    =========  ==================  ================  ==============================================

So no reading repairs the printed sum, and what costs concordance in the others is their weight:
beside an averaged likelihood lambda = 1 outweighs the data. Eq. 1 has the log-likelihood of all
targets, which is a sum over frames; beside that, "mean" does what the paper says: over three seeds
the raw CCC went from .744, .710, .712 without it to .748, .719, .714.

Convention: rows are (B, L, K) per frame and target; `known` (B, L, K) says which have a label, and
the others have no influence on anything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.train.gaussians import Gaussian, divergence

READINGS = ("sum", "mean")
REGULARISERS = ("sum", "mean", "root", "average", "mixture", "batch", "frames")


def masked_mean(rows: Tensor, mask: Tensor) -> Tensor:
    """Mean of rows (B, L, d) over the frames of mask (B, L): (B, d); 0 where there are none."""
    weight = mask.unsqueeze(-1).to(rows.dtype)
    return (rows * weight).sum(-2) / weight.sum(-2).clamp(min=1)


def over_frames(terms: Tensor, known: Tensor, reading: str) -> Tensor:
    """Terms (B, L, K) of known labels, summed over targets, and over frames or averaged: (B,)."""
    total = terms.masked_fill(~known, 0.0).sum((-2, -1))
    return total if reading == "sum" else total / known.any(-1).sum(-1).clamp(min=1)


def regulariser(output: Gaussian, known: Tensor, reading: str) -> Tensor:
    """D(N(sum_t mean_t, sum_t std_t) || N(0, 1)) of section 3.2.4, summed over targets.

    Parameters
    ----------
    reading : what the sums over the L frames of a sequence mean

        - "sum": as printed;
        - "mean": the averages of the means and of the standard deviations;
        - "root": the sum of independent outputs, whose variance is the sum of the variances;
        - "average": the average of independent outputs, whose deviation is "root" over L;
        - "mixture": the output at a frame picked at random, by its mean and variance;
        - "batch": the same, the frame picked from all sequences of the batch;
        - "frames": no pooling; each frame's own divergence, averaged over frames.

    Returns
    -------
    (B,) nats, or (1,) for "batch"; exactly 0 where there is no frame.
    """
    if reading == "frames":
        return over_frames(divergence(output, _standard(output)), known, "mean")
    if reading == "batch":
        output = Gaussian(*(rows.flatten(0, 1).unsqueeze(0) for rows in output))
        known = known.flatten(0, 1).unsqueeze(0)
    pooled = _pooled(output, known, reading)
    return divergence(pooled, _standard(pooled)).sum(-1)


def _pooled(output: Gaussian, known: Tensor, reading: str) -> Gaussian:
    """One Gaussian (B, K) for a sequence's outputs; the standard one where there is no frame."""
    mean, std = (rows.masked_fill(~known, 0.0) for rows in output)
    frames = known.sum(1)
    nothing, n = frames == 0, frames.clamp(min=1)
    total, centre = mean.sum(1), mean.sum(1) / n
    if reading in ("sum", "mean"):
        spread = std.sum(1).masked_fill(nothing, 1.0)
        return Gaussian(total, spread) if reading == "sum" else Gaussian(centre, spread / n)
    variance = std.square().sum(1).masked_fill(nothing, 1.0)
    if reading == "root":
        return Gaussian(total, variance.sqrt())
    if reading == "average":
        return Gaussian(centre, variance.sqrt() / n)
    between = mean.square().sum(1) / n - centre.square()
    return Gaussian(centre, (variance / n + between).sqrt())


def _standard(like: Gaussian) -> Gaussian:
    return Gaussian(torch.zeros_like(like.mean), torch.ones_like(like.std))
