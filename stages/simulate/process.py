"""Affect that moves smoothly, a face that shows it through an offset and noise, labels that trail.

A latent is z_t = 2 p z_{t-1} - p^2 z_{t-2} + e_t with p = exp(-1 / pole_frames) and unit variance,
one for valence and one for arousal. A frame shows y_t = z_t + b + n_t, where b is the sequence's
own offset and n_t is white with variance r_t = noise_variance exp(s g_t - s^2 / 2), g an AR(1) of
unit variance and s = noise_log_sd: reliability comes and goes, the same for both dimensions, and g
is shown too. The label is label_scale (z_{t-lag} + a_t), a an AR(1) that nothing else shows.

Given r the model is linear and Gaussian, so the best estimators are known (`oracles`).

Where the parameters of the default could be read in two ways, these readings were taken: the offset
is in what is shown and not in the label (in both, a window would know nearly everything: CCC .98);
"log-normal noise correlated over 50 frames" is white noise whose variance is, with a log-SD of 0.7
of the variance (of the standard deviation would make a frame say more: .64 for .56); the
annotator's variance is the latents' unit, correlated over 50 frames. Measured, 100 test sequences
of three seeds each, mean CCC: W .58 to .60; a frame .54 to .57; a window of 70 .80 to .82 (.81 to
.84 matched); the filter .83 to .85 and the smoother .89 to .90 for 600 frames, .87 to .88 and .92
to .93 for 1,500, where the filter reaches .88 to .89 once it has seen 300: the offset takes long to
tell, so long sequences have more to give.

Convention: row t + pad of an array that is said to be padded belongs to frame t of the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.simulate.settings import CacheSettings

RUN_FRAMES = 12.0  # mean length of a run of frames without a face
DRAWS, FEATURES, PERSON = 0, 1, 2  # kinds of random streams


class DoublePole(NamedTuple):
    """AR(2) with both poles at `pole` in (0, 1), unit variance.

    Attributes
    ----------
    pole : p
    innovation : variance of e_t
    neighbour : correlation of z_t and z_{t-1}
    """

    pole: float
    innovation: float
    neighbour: float

    def correlation(self, lag: int) -> float:
        """Of z_t and z_{t-lag}: p^k (1 + k (1 - p^2) / (1 + p^2))."""
        square, k = self.pole**2, abs(lag)
        return float(self.pole**k * (1 + k * (1 - square) / (1 + square)))


class Drawn(NamedTuple):
    """n sequences of T frames, padded on either side to S = T + 2 pad rows (float64).

    Attributes
    ----------
    latent (n, S, 2) : z, valence and arousal
    fresh (n, S) bool : rows at which the latents start afresh
    shown (n, S, 2) : y, what a frame shows of the latents
    noise (n, S) : r, the variance of its noise
    nuisance (n, S, 3) : g, and two AR(1) of unit variance that mean nothing
    labels (n, T, 2) : valence, arousal, in [-1, 1]
    valid (n, T) bool : frames with a face
    lag (n,) int : each sequence's own, in frames
    """

    latent: np.ndarray
    fresh: np.ndarray
    shown: np.ndarray
    noise: np.ndarray
    nuisance: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    lag: np.ndarray


def double_pole(frames: float) -> DoublePole:
    """The AR(2) whose poles both have this time constant."""
    p = float(np.exp(-1 / frames))
    square = p * p
    return DoublePole(p, (1 - square) ** 3 / (1 + square), 2 * p / (1 + square))


def first_order(white: np.ndarray, frames: float) -> np.ndarray:
    """AR(1) of unit variance along axis 1, stationary from its first row, of white noise."""
    p = np.exp(-1 / frames)
    out = white.copy()
    step = np.sqrt(1 - p * p)
    for t in range(1, white.shape[1]):
        out[:, t] = p * out[:, t - 1] + step * white[:, t]
    return out


def second_order(
    white: np.ndarray, spare: np.ndarray, fresh: np.ndarray, model: DoublePole
) -> np.ndarray:
    """The AR(2) along axis 1 of white noise (n, S, k), stationary from its first row.

    Where `fresh` (n, S) is True it starts again, independently of what was before: with the row's
    white noise as its value and `spare` (n, S, k) for the value before it, which no row holds.
    """
    p, step, beside = model.pole, np.sqrt(model.innovation), np.sqrt(1 - model.neighbour**2)
    out = white.copy()
    before = model.neighbour * out[:, 0] + beside * spare[:, 0]
    for t in range(1, white.shape[1]):
        going_on = 2 * p * out[:, t - 1] - p * p * before + step * white[:, t]
        again = fresh[:, t, None]
        before = np.where(
            again, model.neighbour * white[:, t] + beside * spare[:, t], out[:, t - 1]
        )
        out[:, t] = np.where(again, white[:, t], going_on)
    return out


def draw(settings: CacheSettings, videos: Sequence[int]) -> Drawn:
    """The sequences of some videos, counted from 0; a video's are the same in any company."""
    process, frames, pad = settings.process, settings.frames, settings.reach
    rows = frames + 2 * pad
    streams = [np.random.default_rng([settings.seed, DRAWS, video]) for video in videos]
    lag = np.array([settings.lag + _jitter(rng, settings.lag_jitter) for rng in streams])
    offset = np.stack([rng.standard_normal(2) for rng in streams])
    fresh = np.zeros((len(streams), rows), bool)
    for i, rng in enumerate(streams):
        fresh[i, pad + change_frames(rng, frames, settings.changes) - lag[i]] = True
    valid = _faces(np.stack([rng.random(frames) for rng in streams]), settings.missing)
    white = np.stack([rng.standard_normal((rows, 11)) for rng in streams])
    latent = second_order(white[..., 0:2], white[..., 2:4], fresh, double_pole(process.pole_frames))
    nuisance = first_order(white[..., 4:7], process.noise_frames)
    annotator = first_order(white[..., 7:9], process.annotator_frames)
    spread = process.noise_log_sd
    noise = process.noise_variance * np.exp(spread * nuisance[..., 0] - spread**2 / 2)
    shown = latent + np.sqrt(process.offset_variance) * offset[:, None]
    shown += np.sqrt(noise)[..., None] * white[..., 9:11]
    annotated = np.take_along_axis(latent, label_rows(lag, frames, pad)[..., None], axis=1)
    annotated += np.sqrt(process.annotator_variance) * annotator[:, pad : pad + frames]
    labels = np.clip(process.label_scale * annotated, -1, 1)
    return Drawn(latent, fresh, shown, noise, nuisance, labels, valid, lag)


def label_rows(lag: np.ndarray, frames: int, pad: int) -> np.ndarray:
    """The padded row (n, frames) whose latent the label of each frame is about."""
    rows: np.ndarray = pad + np.arange(frames) - lag[:, None]
    return rows


def change_frames(rng: np.random.Generator, frames: int, count: int) -> np.ndarray:
    """Where the labels jump: in the middle half of each of `count` equal stretches of frames."""
    where = (np.arange(count) + rng.uniform(0.25, 0.75, count)) * frames / max(count, 1)
    return np.asarray(np.maximum(where.astype(int), 1))


def _jitter(rng: np.random.Generator, most: int) -> int:
    return int(rng.integers(-most, most + 1))


def _faces(uniform: np.ndarray, missing: float) -> np.ndarray:
    """Which frames (n, T) have a face: two states whose runs have geometric lengths."""
    valid = np.empty(uniform.shape, bool)
    valid[:, 0] = uniform[:, 0] >= missing
    leave, come_back = missing / (1 - missing) / RUN_FRAMES, 1 / RUN_FRAMES
    for t in range(1, uniform.shape[1]):
        stays = valid[:, t - 1]
        valid[:, t] = np.where(stays, uniform[:, t] >= leave, uniform[:, t] < come_back)
    return valid
