"""The Kalman filter over whole sequences (paper 003, III.A), as fast as its structure allows.

Gains do not depend on the observations. Without missing frames, and started from the stationary
belief, they do not even depend on time: the means are one recurrence with a constant step, and
log2 T passes over the sequence give them all. Otherwise exact gains are walked through first.

Convention: a frame that is not seen predicts without updating; what was observed in it is not
looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.train.kalman.covariance import Gains, stationary, walked
from stages.train.kalman.model import Belief, LinearModel, kept
from stages.train.kalman.recurrence import steady, varying


def filtered(
    model: LinearModel,
    observations: Tensor,
    mask: Tensor | None = None,
    before: Belief | None = None,
) -> Belief:
    """Beliefs about the state of every frame, given the observations up to it.

    Parameters
    ----------
    model : in float64, which gains need whatever the observations come in
    observations : (..., T, m)
    mask : (..., T) bool, the frames that are seen; None sees all
    before : the belief before the sequence; None is `settled_belief`, with which the filter starts
        as if it had been running for long and had last found the state at 0

    Returns
    -------
    Belief: mean (..., T, n), covariance (..., T, n, n) or, where it is the same in every frame,
    (..., 1, n, n); float64
    """
    seen = mask is None or bool(mask.all())
    observed = observations.double()
    if before is None and seen:
        gains = stationary(model)
        step = kept(gains.gain, model) @ model.transition
        means = steady(step, observed @ gains.gain.mT)
        return Belief(means, gains.covariance.unsqueeze(-3))
    start = settled_belief(model) if before is None else before
    frames = observed.new_ones(observed.shape[-2], dtype=torch.bool) if seen else mask
    assert frames is not None
    gains = walked(model, start.covariance, frames)
    return Belief(_means(model, gains, observed, frames, start.mean), gains.covariance)


def settled_belief(model: LinearModel) -> Belief:
    """Mean 0 and the covariance that the filter settles to."""
    covariance = stationary(model).covariance
    return Belief(covariance.new_zeros(covariance.shape[:-1]), covariance)


def _means(
    model: LinearModel, gains: Gains, observed: Tensor, mask: Tensor, before: Tensor
) -> Tensor:
    """z_t = (I - K_t H) F z_{t-1} + K_t o_t, from z_0."""
    each = model.over_frames()
    steps = kept(gains.gain, each) @ each.transition
    shown = observed.masked_fill(~mask.unsqueeze(-1), 0.0).unsqueeze(-1)
    inputs = (gains.gain @ shown).squeeze(-1)
    first = (steps[..., 0, :, :] @ before.unsqueeze(-1)).mT
    return varying(steps, torch.cat([inputs[..., :1, :] + first, inputs[..., 1:, :]], -2))
