"""Linear recurrences s_t = A s_{t-1} + u_t over a whole sequence at once, and their gradients.

With one A for all frames the states are sums of u_{t-j} A^j, which doubling the reach of every
partial sum gives in log2 T passes over the sequence (Hillis and Steele; design.md, section 4). The
gradient of such a recurrence is the same recurrence run backwards with A transposed:

    l_t = dL/ds_t + A^T l_{t+1},   dL/du_t = l_t,   dL/dA = sum_t l_t s_{t-1}^T

Convention: nothing comes before the first frame, so s_1 = u_1; a state before it enters u_1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NOTHING = 1e-30  # an A^k smaller than this adds nothing to any sum in float64


def steady(step: Tensor, inputs: Tensor) -> Tensor:
    """All states of a recurrence whose step does not change.

    Parameters
    ----------
    step : A (..., n, n), whose leading dimensions broadcast against those of the inputs
    inputs : u (..., T, n)

    Returns
    -------
    s (..., T, n)
    """
    states: Tensor = _Steady.apply(step, inputs)
    return states


def varying(steps: Tensor, inputs: Tensor) -> Tensor:
    """All states of a recurrence whose step differs from frame to frame.

    Parameters
    ----------
    steps : A_t (..., T, n, n), whose leading dimensions broadcast against those of the inputs; A_1
        is not used
    inputs : u (..., T, n)

    Returns
    -------
    s (..., T, n)
    """
    states: Tensor = _Varying.apply(steps, inputs)
    return states


class _Steady(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: Tensor, inputs: Tensor) -> Tensor:
        states = _power_scan(step, inputs)
        ctx.save_for_backward(step, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        step, states = ctx.saved_tensors
        adjoint = _power_scan(step.mT, grad.flip(-2)).flip(-2)
        by_step = adjoint[..., 1:, :].mT @ states[..., :-1, :]
        return by_step.sum_to_size(step.shape), adjoint


class _Varying(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Tensor, inputs: Tensor) -> Tensor:
        states = _walk(steps, inputs)
        ctx.save_for_backward(steps, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        steps, states = ctx.saved_tensors
        following = steps.roll(-1, -3)  # A_{t+1} at t; the last is not used
        adjoint = _walk(following.flip(-3).mT, grad.flip(-2)).flip(-2)
        before = torch.zeros_like(states)
        before[..., 1:, :] = states[..., :-1, :]
        by_step = adjoint.unsqueeze(-1) * before.unsqueeze(-2)
        return by_step.sum_to_size(steps.shape), adjoint


def _power_scan(step: Tensor, inputs: Tensor) -> Tensor:
    """After the pass of reach k, every state holds its last 2 k inputs."""
    states, power, reach = inputs.clone(), step.mT, 1
    while reach < states.shape[-2] and power.abs().max() > NOTHING:
        states[..., reach:, :] += states[..., :-reach, :] @ power
        power, reach = power @ power, 2 * reach
    return states


def _walk(steps: Tensor, inputs: Tensor) -> Tensor:
    """Frame by frame: steps that differ leave nothing to share, and n is small."""
    moves, added = steps.movedim(-3, 0), inputs.movedim(-2, 0).unsqueeze(-1)
    states = [added[0]]
    for move, new in zip(moves[1:], added[1:], strict=True):
        states.append(new + move @ states[-1])
    return torch.cat([column.mT for column in states], dim=-2)
