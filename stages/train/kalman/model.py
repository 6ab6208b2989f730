"""A linear Gaussian state space, and one frame of the filter on it (paper 003, III.A).

    z_t = F z_{t-1} + q_t,   q_t ~ N(0, Q)
    o_t = H z_t     + r_t,   r_t ~ N(0, R)

Convention: Q and R are covariances. The paper's softplus gives their diagonals, variances: it is
applied once, where the model is made, and nothing here takes a square root of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LinearModel(NamedTuple):
    """What moves and what is seen of it; n states, m observations, any leading dimensions.

    Attributes
    ----------
    transition : F (..., n, n)
    observation : H (..., m, n)
    process : Q (..., n, n), positive semidefinite
    noise : R (..., m, m), positive definite
    """

    transition: Tensor
    observation: Tensor
    process: Tensor
    noise: Tensor

    def over_frames(self) -> LinearModel:
        """The same with a dimension for time: it broadcasts against (..., T, n, n)."""
        return LinearModel(*(matrix.unsqueeze(-3) for matrix in self))


class Belief(NamedTuple):
    """A Gaussian belief about the state: mean (..., n), covariance (..., n, n)."""

    mean: Tensor
    covariance: Tensor


def advance(belief: Belief, model: LinearModel) -> Belief:
    """One frame ahead without a look at it: F z and F P F^T + Q."""
    mean = (model.transition @ belief.mean.unsqueeze(-1)).squeeze(-1)
    return Belief(mean, spread(belief.covariance, model))


def correct(belief: Belief, model: LinearModel, observed: Tensor) -> Belief:
    """A predicted belief after looking: z + K (o - H z) and the covariance that is left.

    Parameters
    ----------
    observed : o (..., m)
    """
    gain, covariance = informed(belief.covariance, model)
    seen = (model.observation @ belief.mean.unsqueeze(-1)).squeeze(-1)
    innovation = (observed - seen).unsqueeze(-1)
    return Belief(belief.mean + (gain @ innovation).squeeze(-1), covariance)


def spread(covariance: Tensor, model: LinearModel) -> Tensor:
    """F P F^T + Q, exactly symmetric."""
    moved = model.transition @ covariance @ model.transition.mT
    return symmetric(moved) + model.process


def gain_of(predicted: Tensor, model: LinearModel) -> Tensor:
    """K = P H^T (H P H^T + R)^-1, (..., n, m), of a predicted covariance (..., n, n)."""
    across = model.observation @ predicted
    innovation = across @ model.observation.mT + model.noise
    gain: Tensor = torch.linalg.solve(innovation, across).mT
    return gain


def informed(predicted: Tensor, model: LinearModel) -> tuple[Tensor, Tensor]:
    """Gain and filtered covariance of a predicted one.

    The paper prints (I - K H) P, which rounding turns indefinite when F grows what it moves. This
    is Joseph's form of the same, (I - K H) P (I - K H)^T + K R K^T: a sum of two squares.
    """
    gain = gain_of(predicted, model)
    keep = kept(gain, model)
    joseph = keep @ predicted @ keep.mT + gain @ model.noise @ gain.mT
    return gain, symmetric(joseph)


def kept(gain: Tensor, model: LinearModel) -> Tensor:
    """I - K H: what is kept of a predicted state."""
    eye = torch.eye(gain.shape[-2], dtype=gain.dtype, device=gain.device)
    return eye - gain @ model.observation


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part of a matrix, so that rounding does not grow over thousands of frames."""
    return 0.5 * (matrix + matrix.mT)
