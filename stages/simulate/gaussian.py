"""Exact posteriors of the latents given what was shown: Kalman filter, smoothers, predictions.

The state is x_t = [z_t, z_{t-1}, b]: an AR(2) latent and the sequence's offset, which an
observation y_t = z_t + b + n_t shows together. Valence and arousal are independent with the same
variances, so they share covariances and gains; a frame that is not seen, or a noise that is
different in each frame, is a different gain.

Smoothing runs the adjoint recursion (Bryson and Frazier's, in Bierman's modified form), which
inverts nothing but the innovation's variance: it also holds where the state's covariance is
singular. With the estimate m_t, P_t of x_t from the frames up to t, A_t the transition to t, K_t
its gain, S_t its innovation v_t's variance and L_t = A_t^T (1 - K_t H)^T:

    l_{t-1} = -A_t^T H^T v_t / S_t + L_t l_t        x_t given the later frames: m_t - P_t l_t
    N_{t-1} = A_t^T H^T H A_t / S_t + L_t N_t L_t^T     its covariance:   P_t - P_t N_t P_t

where l and N start at 0 in the last frame that counts: the sequence's for a smoother, t + lag for
a fixed-lag smoother.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.simulate.process import DoublePole

SHOWS = np.array([1.0, 0.0, 1.0])  # H: a frame shows latent + offset


class Evidence(NamedTuple):
    """What an estimator is told of n sequences of S rows.

    Attributes
    ----------
    shown (n, S, 2) : y; anything finite where not seen
    noise (n, S) : r, above 0
    seen (n, S) bool : rows whose y it is told
    fresh (n, S) bool : rows at which the latents start afresh
    """

    shown: np.ndarray
    noise: np.ndarray
    seen: np.ndarray
    fresh: np.ndarray


class Estimate(NamedTuple):
    """A latent's posterior mean (n, ..., 2) and variance (n, ...), the same for both dimensions."""

    mean: np.ndarray
    variance: np.ndarray


class Filtered(NamedTuple):
    """A filter's result, and what the adjoint recursion needs of it.

    Attributes
    ----------
    mean (n, S, 3, 2), covariance (n, S, 3, 3) : of x_t given the rows up to t
    move (n, S, 3, 3), stir (n, S, 3, 3) : A_t and the innovation's covariance Q_t
    back (n, S, 3, 3) : L_t
    push (n, S, 3, 2), tighten (n, S, 3, 3) : -A_t^T H^T v_t / S_t and A_t^T H^T H A_t / S_t
    """

    mean: np.ndarray
    covariance: np.ndarray
    move: np.ndarray
    stir: np.ndarray
    back: np.ndarray
    push: np.ndarray
    tighten: np.ndarray


def prior(model: DoublePole, offset_variance: float) -> np.ndarray:
    """Covariance (3, 3) of the state before anything is seen."""
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = [[1, model.neighbour], [model.neighbour, 1]]
    covariance[2, 2] = offset_variance
    return covariance


def filtered(evidence: Evidence, model: DoublePole, offset_variance: float) -> Filtered:
    """The causal Kalman filter, from the stationary prior in row 0."""
    n, rows = evidence.seen.shape
    move, stir = _steps(evidence.fresh, model)
    mean, covariance = np.empty((n, rows, 3, 2)), np.empty((n, rows, 3, 3))
    gain, surprise = np.empty((n, rows, 3)), np.zeros((n, rows, 2))
    precision = np.zeros((n, rows))
    ahead, spread = np.zeros((n, 3, 2)), np.tile(prior(model, offset_variance), (n, 1, 1))
    for t in range(rows):
        if t:
            ahead = move[:, t] @ mean[:, t - 1]
            spread = move[:, t] @ covariance[:, t - 1] @ move[:, t].swapaxes(1, 2) + stir[:, t]
        shared = spread @ SHOWS
        precision[:, t] = evidence.seen[:, t] / (shared @ SHOWS + evidence.noise[:, t])
        gain[:, t] = shared * precision[:, t, None]
        surprise[:, t] = evidence.shown[:, t] - (ahead[:, 0] + ahead[:, 2])
        mean[:, t] = ahead + gain[:, t, :, None] * surprise[:, t, None]
        covariance[:, t] = spread - gain[:, t, :, None] * shared[:, None]
    turned = move.swapaxes(2, 3)
    shows = turned @ SHOWS  # A_t^T H^T
    return Filtered(
        mean,
        covariance,
        move,
        stir,
        turned - shows[..., None] * gain[:, :, None],
        -shows[..., None] * (precision[..., None] * surprise)[:, :, None],
        precision[..., None, None] * shows[..., None] * shows[:, :, None],
    )


def causal(run: Filtered) -> Estimate:
    """Each row's latent given the rows up to it."""
    return Estimate(run.mean[..., 0, :], run.covariance[..., 0, 0])


def smoothed(run: Filtered) -> Estimate:
    """Each row's latent given all rows."""
    n, rows = run.mean.shape[:2]
    mean, variance = np.empty((n, rows, 2)), np.empty((n, rows))
    pull, tight = np.zeros((n, 3, 2)), np.zeros((n, 3, 3))
    for t in reversed(range(rows)):
        mean[:, t], variance[:, t] = _adjusted(run.mean[:, t], run.covariance[:, t], pull, tight)
        pull = run.push[:, t] + run.back[:, t] @ pull
        tight = run.tighten[:, t] + run.back[:, t] @ tight @ run.back[:, t].swapaxes(1, 2)
    return Estimate(mean, variance)


def looked_ahead(run: Filtered, frames: int) -> Estimate:
    """Each row's latent given the rows up to `frames` >= 0 after it (all, where there are fewer).

    All rows at once: the adjoint recursion starts `frames` after each and takes as many steps.
    """
    pull, tight = np.zeros_like(run.mean), np.zeros_like(run.covariance)
    rows = run.mean.shape[1]
    for away in range(min(frames, rows - 1), 0, -1):
        here, there = slice(0, rows - away), slice(away, rows)
        back = run.back[:, there]
        pull[:, here] = run.push[:, there] + back @ pull[:, here]
        tight[:, here] = run.tighten[:, there] + back @ tight[:, here] @ back.swapaxes(2, 3)
    return Estimate(*_adjusted(run.mean, run.covariance, pull, tight))


def predicted(run: Filtered, frames: int) -> Estimate:
    """Each row's latent given the rows up to `frames` >= 0 before it (none, where it is early)."""
    n, rows = run.mean.shape[:2]
    ends = max(rows - frames, 0)
    mean, covariance = run.mean[:, :ends], run.covariance[:, :ends]
    for step in range(1, frames + 1):
        move = run.move[:, step : step + ends]
        mean = move @ mean
        covariance = move @ covariance @ move.swapaxes(2, 3) + run.stir[:, step : step + ends]
    early = rows - ends
    return Estimate(
        np.concatenate([np.zeros((n, early, 2)), mean[..., 0, :]], axis=1),
        np.concatenate([np.ones((n, early)), covariance[..., 0, 0]], axis=1),
    )


def _adjusted(
    mean: np.ndarray, covariance: np.ndarray, pull: np.ndarray, tight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The latent's mean and variance once what came later has its say."""
    row = covariance[..., :1, :]
    told = (row @ tight @ row.swapaxes(-1, -2))[..., 0, 0]
    return mean[..., 0, :] - (row @ pull)[..., 0, :], covariance[..., 0, 0] - told


def _steps(fresh: np.ndarray, model: DoublePole) -> tuple[np.ndarray, np.ndarray]:
    """Transition and innovation covariance (n, S, 3, 3) into each row."""
    p = model.pole
    going_on = np.array([[2 * p, -p * p, 0], [1, 0, 0], [0, 0, 1.0]])
    again = fresh[..., None, None]
    move = np.where(again, np.diag([0.0, 0.0, 1.0]), going_on)
    stir = np.where(again, prior(model, 0.0), np.diag([model.innovation, 0.0, 0.0]))
    return move, stir
