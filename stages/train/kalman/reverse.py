"""The way back through the extended filter: how a frame's belief moves with the one before it.

With A = I - K H', H' and F' the Jacobians, w = S^-1 (o - tanh H z^), a small change of the
predicted belief (z^, P^) and of H' moves the corrected one by

    dz = A dz^ + A dP^ H'^T w + A P^ dH'^T w - K dH' K (o - tanh H z^)
    dP = A dP^ A^T - A P^ dH'^T K^T - K dH' P^ A^T

and both Jacobians move with the mean at which they are taken. `back` is the transpose of all that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.train.kalman.model import symmetric


class Passed(NamedTuple):
    """What is known of every frame once it was passed; columns are (..., n, 1) or (..., m, 1).

    Attributes
    ----------
    transition, observation : F and H
    ahead : the predicted mean z^ = tanh F z, a column
    moved, moved_covariance : F' = (1 - z^2) F and F' P
    shown : tanh H z^, a column
    gain : K, zero where nothing was seen
    keep, kept_covariance : A and A P^
    weighed, looked : w and H'^T w, columns, zero where nothing was seen
    correction : K (o - tanh H z^), a column
    """

    transition: Tensor
    observation: Tensor
    ahead: Tensor
    moved: Tensor
    moved_covariance: Tensor
    shown: Tensor
    gain: Tensor
    keep: Tensor
    kept_covariance: Tensor
    weighed: Tensor
    looked: Tensor
    correction: Tensor


def joined(local: Tensor, passed: Passed) -> Tensor:
    """Beliefs of all frames as one graph.

    Parameters
    ----------
    local : (T, ..., n + n n), every frame's packed belief in a graph of that frame alone
    passed : the frames, time first

    Returns
    -------
    The same values, with the gradients of the whole sequence
    """
    states: Tensor = _Joined.apply(local, *passed)
    return states


def back(mean: Tensor, covariance: Tensor, frame: Passed) -> tuple[Tensor, Tensor]:
    """Gradients about the belief before a frame from those about the belief after it.

    Parameters
    ----------
    mean : dL/dz, a column (..., n, 1)
    covariance : dL/dP (..., n, n), symmetric
    """
    corrected, gained = frame.keep.mT @ mean, frame.gain.mT @ mean
    by_rows = (
        frame.weighed @ (frame.kept_covariance.mT @ mean).mT
        - gained @ frame.correction.mT
        - 2 * frame.gain.mT @ covariance @ frame.kept_covariance
    )
    bend = (by_rows * frame.observation).sum(-1, keepdim=True)
    by_shown = -gained - 2 * frame.shown * bend
    by_ahead = mean + frame.observation.mT @ ((1 - frame.shown.square()) * by_shown)
    by_spread = frame.keep.mT @ covariance @ frame.keep + symmetric(corrected @ frame.looked.mT)
    by_moved = 2 * by_spread @ frame.moved_covariance
    bend = (by_moved * frame.transition).sum(-1, keepdim=True)
    by_ahead = by_ahead - 2 * frame.ahead * bend
    return frame.moved.mT @ by_ahead, frame.moved.mT @ by_spread @ frame.moved


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, *passed: Tensor) -> Tensor:
        ctx.save_for_backward(*passed)
        return local.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        passed = ctx.saved_tensors
        frames = [Passed(*columns) for columns in zip(*(t.unbind(0) for t in passed), strict=True)]
        n = passed[2].shape[-2]
        means = grad[..., :n].unsqueeze(-1).unbind(0)
        covariances = symmetric(grad[..., n:].reshape(*grad.shape[:-1], n, n)).unbind(0)
        here = means[-1], covariances[-1]
        found = [here]
        for t in range(len(frames) - 1, 0, -1):
            mean, covariance = back(*here, frames[t])
            here = means[t - 1] + mean, covariances[t - 1] + covariance
            found.append(here)
        packed = [torch.cat([m.squeeze(-1), c.flatten(-2)], -1) for m, c in reversed(found)]
        return torch.stack(packed), *[None] * len(passed)
