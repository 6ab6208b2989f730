"""What the fast filters are held against: the textbook's loop, and the Gaussian of everything.

The loop is the paper's five lines (III.A), frame by frame, with autograd through all of them. The
joint Gaussian knows nothing of filtering: it writes the covariance of all states and observations
of a short sequence down and conditions on what was seen.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.train.kalman.model import LinearModel


def some_model(
    n: int = 3, m: int = 3, seed: int = 0, radius: float = 0.95, leading: tuple[int, ...] = ()
) -> LinearModel:
    """A random model in float64 whose transition has a given spectral radius."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*leading, *shape, generator=draw, dtype=torch.float64)

    transition = torch.eye(n, dtype=torch.float64) + 0.1 * normal(n, n)
    largest = torch.linalg.eigvals(transition).abs().amax(-1)[..., None, None]
    return LinearModel(
        transition * radius / largest,
        torch.eye(m, n, dtype=torch.float64) + 0.1 * normal(m, n),
        torch.diag_embed(0.05 + 0.1 * normal(n).square()),
        torch.diag_embed(0.2 + normal(m).square()),
    )


def observations(*shape: int, seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def some_mask(*shape: int, seed: int = 2, share: float = 0.7) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


def textbook(
    model: LinearModel,
    observed: Tensor,
    mean: Tensor,
    covariance: Tensor,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Means (B, T, n) and covariances (B, T, n, n): paper 003's five equations in a loop."""
    f, h, q, r = model
    batch, frames = observed.shape[:2]
    z = mean.expand(batch, -1)
    p = covariance.expand(batch, -1, -1)
    eye = torch.eye(f.shape[-1], dtype=f.dtype)
    means, covariances = [], []
    for t in range(frames):
        z = (f @ z[..., None])[..., 0]
        p = f @ p @ f.mT + q
        k = p @ h.mT @ torch.linalg.inv(r + h @ p @ h.mT)
        new_z = z + (k @ (observed[:, t] - (h @ z[..., None])[..., 0])[..., None])[..., 0]
        new_p = (eye - k @ h) @ p
        if mask is not None:
            seen = mask[:, t]
            new_z = torch.where(seen[:, None], new_z, z)
            new_p = torch.where(seen[:, None, None], new_p, p)
        z, p = new_z, new_p
        means.append(z)
        covariances.append(p)
    return torch.stack(means, 1), torch.stack(covariances, 1)


class Joint(NamedTuple):
    """What conditioning says about every state: means (T, n), covariances (T, n, n)."""

    means: np.ndarray
    covariances: np.ndarray


def joint_gaussian(
    model: LinearModel, observed: Tensor, mean: Tensor, covariance: Tensor, mask: Tensor
) -> Joint:
    """E and Cov of z_t given what was seen up to t, from one big Gaussian; observed is (T, m)."""
    f, h, q, r = (matrix.numpy() for matrix in model)
    frames, n = len(observed), len(f)
    powers = [np.linalg.matrix_power(f, k) for k in range(frames + 1)]
    prior_mean = np.concatenate([powers[t + 1] @ mean.numpy() for t in range(frames)])
    # every state is a sum over the sources z_0 and q_1 ... q_t, all independent
    sources = np.zeros((frames * n, (frames + 1) * n))
    for t in range(frames):
        for s in range(t + 2):
            sources[t * n : (t + 1) * n, s * n : (s + 1) * n] = powers[t + 1 - s]
    noise = np.kron(np.eye(frames + 1), q)
    noise[:n, :n] = covariance.numpy()
    prior = sources @ noise @ sources.T
    show = np.kron(np.eye(frames), h)
    seen_rows = np.repeat(mask.numpy(), len(h))
    means, covariances = [], []
    for t in range(frames):
        rows = seen_rows & (np.arange(len(seen_rows)) < (t + 1) * len(h))
        own = slice(t * n, (t + 1) * n)
        part = show[rows]
        across = prior[own] @ part.T
        data = part @ prior @ part.T + np.kron(np.eye(frames), r)[np.ix_(rows, rows)]
        gain = np.linalg.solve(data, across.T).T if rows.any() else across
        surprise = observed.numpy().reshape(-1)[rows] - part @ prior_mean
        means.append(prior_mean[own] + gain @ surprise)
        covariances.append(prior[own, own] - gain @ across.T)
    return Joint(np.stack(means), np.stack(covariances))


def textbook_extended(
    model: LinearModel,
    observed: Tensor,
    mean: Tensor,
    covariance: Tensor,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """The extended filter with all parts of an observation at once and an inverse, in a loop."""
    f, h, q, r = model
    z = mean.expand(observed.shape[0], -1)
    p = covariance.expand(observed.shape[0], -1, -1)
    means, covariances = [], []
    for t in range(observed.shape[1]):
        z = torch.tanh((f @ z[..., None])[..., 0])
        jacobian = (1 - z**2)[..., None] * f
        p = jacobian @ p @ jacobian.mT + q
        shown = torch.tanh((h @ z[..., None])[..., 0])
        rows = (1 - shown**2)[..., None] * h
        k = p @ rows.mT @ torch.linalg.inv(rows @ p @ rows.mT + r)
        seen = mask[:, t]
        z = torch.where(seen[:, None], z + (k @ (observed[:, t] - shown)[..., None])[..., 0], z)
        p = torch.where(seen[:, None, None], p - k @ rows @ p, p)
        means.append(z)
        covariances.append(p)
    return torch.stack(means, 1), torch.stack(covariances, 1)
