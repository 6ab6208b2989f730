"""Covariances and gains of a linear filter: they depend on the model and the mask, never on data.

Where every frame is seen they settle: the stationary covariance comes from Riccati doubling (the
structure-preserving algorithm; Anderson and Moore 1979, section 6.7), 2^k frames in k steps. Where
faces are missing, or the first belief is given, they are walked through frame by frame.

Gradients of both use one fact: about the optimal gain, P moves its successor by A P A^T with
A = (I - K H) F. So the adjoint of a whole walk is l_t = g_t + A_{t+1}^T l_{t+1} A_{t+1}, that of a
fixed point the sum of (A^T)^k g A^k, and neither keeps a graph of its frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from affcache.errors import RunError
from stages.train.kalman.model import LinearModel, informed, kept, spread, symmetric

DOUBLINGS = 60  # 2^60 frames: whatever has not settled by then never will
SETTLED = 1e-15


class Gains(NamedTuple):
    """What a filter does with an observation, and how sure it is after it.

    Attributes
    ----------
    gain : K (..., n, m) or, per frame, (..., T, n, m), zero where nothing was seen
    covariance : the filtered P, (..., n, n) or (..., T, n, n)
    """

    gain: Tensor
    covariance: Tensor


def stationary(model: LinearModel) -> Gains:
    """The gain that the filter settles to when every frame is seen.

    Raises
    ------
    RunError
        If it settles to none: F grows something that H does not show.
    """
    with torch.no_grad():
        settled = _doubling(model)
        gain, _ = informed(settled, model)
        step = model.transition @ kept(gain, model)
    _, filtered = informed(settled, model)
    predicted = _linked(_FixedPoint, spread(filtered, model), step)
    return Gains(*informed(predicted, model))


def walked(model: LinearModel, before: Tensor, mask: Tensor) -> Gains:
    """Gains of every frame, from a belief before the sequence and the frames that are seen.

    Parameters
    ----------
    before : covariance of the belief before the sequence, (..., n, n)
    mask : (..., T) bool, the frames that are seen

    Returns
    -------
    Gains per frame; their leading dimensions are those of model, belief and mask, broadcast
    """
    seen = mask.unsqueeze(-1).unsqueeze(-1)
    each = model.over_frames()
    shape = np.broadcast_shapes(model.transition.shape[:-2], before.shape[:-2], mask.shape[:-1])
    before = before.expand(*shape, *before.shape[-2:]).unsqueeze(-3)
    with torch.no_grad():
        values = _walk(model, before.squeeze(-3), seen)
    local, gain = _frame(each, torch.cat([before, values[..., :-1, :, :]], -3), seen)
    step = (kept(gain, each) @ each.transition).detach()
    covariance = _linked(_Walk, local, step)
    _, gain = _frame(each, torch.cat([before, covariance[..., :-1, :, :]], -3), seen)
    return Gains(gain, covariance)


def _frame(model: LinearModel, before: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Covariance after a frame and the gain in it, seen or not."""
    predicted = spread(before, model)
    gain, filtered = informed(predicted, model)
    return torch.where(seen, filtered, predicted), gain * seen


def _walk(model: LinearModel, covariance: Tensor, seen: Tensor) -> Tensor:
    """Filtered covariances (..., T, n, n), frame by frame until they settle or the frames end."""
    everything, frames = bool(seen.all()), seen.shape[-3]
    values = []
    for t in range(frames):
        new, _ = _frame(model, covariance, seen[..., t, :, :])
        values.append(new)
        if everything and torch.allclose(new, covariance, rtol=SETTLED, atol=0):
            break
        covariance = new
    values += [values[-1]] * (frames - len(values))
    return torch.stack(values, -3)


def _doubling(model: LinearModel) -> Tensor:
    """The stationary predicted covariance: X = A^T X (I + G X)^-1 A + Q for A = F^T.

    A, G and X of 2^k frames at once; A shrinks like the square of itself at every step.
    """
    step = model.transition.mT
    shown = model.observation.mT @ torch.linalg.solve(model.noise, model.observation)
    covariance, shown = model.process, symmetric(shown)
    eye = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
    for _ in range(DOUBLINGS):
        both = torch.linalg.solve(eye + shown @ covariance, torch.cat([step, shown], -1))
        move, hold = both.split(step.shape[-1], -1)
        more = symmetric(step.mT @ covariance @ move)
        covariance, shown = covariance + more, symmetric(shown + step @ hold @ step.mT)
        step = step @ move
        if more.abs().max() <= SETTLED * covariance.abs().max():
            return covariance
    raise RunError(
        "the Kalman filter does not settle: its transition grows a state that is not observed; "
        "try a lower optimiser.learning_rate, or model.transition = identity"
    )


def _linked(how: type[torch.autograd.Function], local: Tensor, step: Tensor) -> Tensor:
    """Values whose last step alone is in the graph, with the gradient of all of their steps."""
    linked: Tensor = how.apply(local, step)
    return linked


class _Linked(torch.autograd.Function):
    """Values passed through as they are; subclasses say what their gradient is."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, step: Tensor) -> Tensor:
        ctx.save_for_backward(step)
        return local.clone()


class _FixedPoint(_Linked):
    """P = f(P): the gradient of the fixed point from that of one step of it."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (power,) = ctx.saved_tensors
        for _ in range(DOUBLINGS):
            more = power.mT @ grad @ power
            grad, power = grad + more, power @ power
            if more.abs().max() <= SETTLED * grad.abs().max():
                break
        return grad, None


class _Walk(_Linked):
    """P_t = f_t(P_{t-1}): the gradient of a walk from those of its single steps."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (step,) = ctx.saved_tensors
        steps, grads = step.unbind(-3), grad.unbind(-3)
        adjoint = [grads[-1]]
        for own, following in zip(grads[-2::-1], steps[:0:-1], strict=True):
            adjoint.append(own + following.mT @ adjoint[-1] @ following)
        return torch.stack(adjoint[::-1], -3), None
