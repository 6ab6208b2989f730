"""The extended Kalman filter with tanh transition and observation (paper 003, III.A and IV.C).

    z_t = tanh(F z_{t-1}) + q_t,   o_t = tanh(H z_t) + r_t

Every frame is linearised about what is believed of it, so frames have to be taken in turn. Because
R is diagonal, an observation's parts are absorbed one after the other: divisions instead of an
inverse, and a covariance that stays symmetric by itself.

Training does not keep a graph of the turns. The states are found without one; then all frames are
taken at once, each from the state before it, and `stages.train.kalman.reverse` carries gradients
from frame to frame: the sum that backpropagation through time would have made.

Convention: the paper prints the transition's Jacobian at z_t; what can be known in predicting is
z_{t-1}, and there it is taken. The observation's is taken at the prediction, for all of its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.train.kalman.linear import settled_belief
from stages.train.kalman.model import Belief, LinearModel, symmetric
from stages.train.kalman.reverse import Passed, joined


def extended(
    model: LinearModel,
    observations: Tensor,
    mask: Tensor | None = None,
    before: Belief | None = None,
) -> Belief:
    """Beliefs about the state of every frame, given the observations up to it.

    Parameters
    ----------
    model : F and H stand inside the tanh; R is diagonal; float64
    observations : (..., T, m)
    mask : (..., T) bool, the frames that are seen; None sees all
    before : the belief before the sequence; None is `first_belief`

    Returns
    -------
    Belief: mean (..., T, n), covariance (..., T, n, n); float64
    """
    seen = observations.new_ones(observations.shape[:-1], dtype=torch.bool)
    seen = seen if mask is None else seen & mask
    # time comes first here, so that a frame is a contiguous row
    observed = observations.double().masked_fill(~seen.unsqueeze(-1), 0.0).movedim(-2, 0)
    seen = seen.movedim(-1, 0)
    n, shape = model.transition.shape[-1], observed.shape[1:-1]
    start = first_belief(model) if before is None else before
    packed = _pack(Belief(start.mean.expand(*shape, n), start.covariance.expand(*shape, n, n)))
    with torch.no_grad():
        state, values = packed, []
        for now, there in zip(observed, seen, strict=True):
            state = _frame(state, model, now, there)
            values.append(state)
    states = torch.stack(values)
    if torch.is_grad_enabled():
        earlier = torch.cat([packed.unsqueeze(0), states[:-1]])
        local = _frame(earlier, model, observed, seen)
        states = joined(local, _pass(_unpack(earlier.detach(), n), model, observed, seen))
    return _unpack(states.movedim(0, -2), n)


def first_belief(model: LinearModel) -> Belief:
    """Mean 0, and the covariance to which the filter settles where tanh is nearly the identity."""
    return settled_belief(model)


def turn(belief: Belief, model: LinearModel, observed: Tensor, seen: Tensor) -> Belief:
    """One frame: predict, then absorb o (..., m) where `seen` (...) is true."""
    ahead = ahead_of(belief, model)
    corrected = absorbed(ahead, model, observed)
    return Belief(
        torch.where(seen[..., None], corrected.mean, ahead.mean),
        torch.where(seen[..., None, None], corrected.covariance, ahead.covariance),
    )


def ahead_of(belief: Belief, model: LinearModel) -> Belief:
    """tanh(F z) and J P J^T + Q, J = diag(1 - tanh^2) F."""
    mean = (model.transition @ belief.mean.unsqueeze(-1)).squeeze(-1).tanh()
    jacobian = (1 - mean.square()).unsqueeze(-1) * model.transition
    moved = jacobian @ belief.covariance @ jacobian.mT
    return Belief(mean, symmetric(moved) + model.process)


def absorbed(ahead: Belief, model: LinearModel, observed: Tensor) -> Belief:
    """A predicted belief after the parts of an observation, one scalar at a time."""
    shown = (model.observation @ ahead.mean.unsqueeze(-1)).squeeze(-1).tanh()
    rows = (1 - shown.square()).unsqueeze(-1) * model.observation
    surprise, variance = observed - shown, model.noise.diagonal(dim1=-2, dim2=-1)
    mean, covariance = ahead
    for i in range(observed.shape[-1]):
        row = rows[..., i, :]
        across = (covariance @ row.unsqueeze(-1)).squeeze(-1)
        gain = across / ((across * row).sum(-1, keepdim=True) + variance[..., i : i + 1])
        moved = ((mean - ahead.mean) * row).sum(-1, keepdim=True)
        mean = mean + gain * (surprise[..., i : i + 1] - moved)
        covariance = covariance - gain.unsqueeze(-1) * across.unsqueeze(-2)
    return Belief(mean, covariance)


def _frame(packed: Tensor, model: LinearModel, observed: Tensor, seen: Tensor) -> Tensor:
    return _pack(turn(_unpack(packed, model.transition.shape[-1]), model, observed, seen))


def _pack(belief: Belief) -> Tensor:
    """Mean and covariance as one vector, (..., n + n n)."""
    return torch.cat([belief.mean, belief.covariance.flatten(-2)], -1)


def _unpack(packed: Tensor, n: int) -> Belief:
    return Belief(packed[..., :n], packed[..., n:].reshape(*packed.shape[:-1], n, n))


@torch.no_grad()
def _pass(before: Belief, model: LinearModel, observed: Tensor, seen: Tensor) -> Passed:
    """What the way back through every frame needs of it."""
    f, h, _, noise = model
    ahead = ahead_of(before, model)
    moved = (1 - ahead.mean.square()).unsqueeze(-1) * f
    shown = (h @ ahead.mean.unsqueeze(-1)).tanh()
    rows = (1 - shown.square()) * h
    across = rows @ ahead.covariance
    innovation = across @ rows.mT + noise
    there = seen[..., None, None]
    gain = torch.linalg.solve(innovation, across).mT * there
    surprise = observed.unsqueeze(-1) - shown
    weighed = torch.linalg.solve(innovation, surprise) * there
    eye = torch.eye(f.shape[-1], dtype=f.dtype, device=f.device)
    keep = eye - gain @ rows
    return Passed(
        transition=f.expand_as(moved),
        observation=h.expand_as(rows),
        ahead=ahead.mean.unsqueeze(-1),
        moved=moved,
        moved_covariance=moved @ before.covariance,
        shown=shown,
        gain=gain,
        keep=keep,
        kept_covariance=keep @ ahead.covariance,
        weighed=weighed,
        looked=rows.mT @ weighed,
        correction=gain @ surprise,
    )
