"""What moves a simulated face: slow affect that is labelled, and the nuisances that hide it.

Valence and arousal are squashed slow random processes. The face shows them with a fast jitter that
no label follows, talks, blinks, moves and is covered now and then; the labels are the affect
without the jitter, delayed as an annotator is. So the labels of a frame follow from its context
better than from the frame alone, by a known amount.

Convention: every process is stationary from its first frame on; lengths are in units of D, the
distance from the middle of the eyes to the middle of the mouth divided by 1.1; y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SHOWN_LIMIT = 1.2
OPENING_LIMIT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How everything moves; standard deviations, and time constants in seconds.

    Attributes
    ----------
    affect_seconds, affect_gain : valence and arousal are tanh(gain x + offset), x of unit variance
    offset_sd : one offset per clip and dimension, before the squashing
    lag_seconds : how far the labels are behind the face
    jitter_sd, jitter_seconds : movement of the shown expression that no label follows
    talk, talk_seconds, speech_seconds : mouth opening of a syllable; its pace; length of a bout
    blinks_per_second, blink_seconds : rate of blinks; duration of one
    shift_sd, roll_sd, zoom_sd, motion_seconds : head motion in D, radians and as a fraction
    gain_sd, gradient_sd, light_seconds : light, as fractions of the brightness
    covers_per_second, cover_frames : rate of occlusions; their shortest and longest length
    blur_most : the blurriest clip's standard deviation, in pixels
    noise_sd : sensor noise per pixel and channel, in grey levels of 255
    """

    affect_seconds: float = 1.0
    affect_gain: float = 0.9
    offset_sd: float = 0.35
    lag_seconds: float = 0.4
    jitter_sd: float = 0.45
    jitter_seconds: float = 0.12
    talk: float = 0.35
    talk_seconds: float = 0.05
    speech_seconds: float = 0.6
    blinks_per_second: float = 0.3
    blink_seconds: float = 0.25
    shift_sd: float = 0.05
    roll_sd: float = 0.045
    zoom_sd: float = 0.025
    motion_seconds: float = 0.5
    gain_sd: float = 0.12
    gradient_sd: float = 0.12
    light_seconds: float = 1.0
    covers_per_second: float = 0.25
    cover_frames: tuple[int, int] = (3, 9)
    blur_most: float = 0.8
    noise_sd: float = 8.0


class Drives(NamedTuple):
    """One clip's known truth, one row per frame (float64 unless said).

    Attributes
    ----------
    labels (frame, 2) : valence, arousal as annotated: the truth of `lag_seconds` ago, in (-1, 1)
    truth (frame, 2) : valence, arousal of this frame, in (-1, 1)
    shown (frame, 2) : what the face shows: the truth and the jitter, within SHOWN_LIMIT
    opening (frame,) : of the mouth, in [0, OPENING_LIMIT]
    blink (frame,) : of the eyes, 0 open, 1 shut
    shift (frame, 2), roll (frame,), zoom (frame,) : of the head: D, radians, factor
    gain (frame,), gradient (frame, 2) : light: factor; change from the middle to the edge
    covered (frame,) bool : something hides the face
    blur : standard deviation in pixels, one for the clip
    """

    labels: np.ndarray
    truth: np.ndarray
    shown: np.ndarray
    opening: np.ndarray
    blink: np.ndarray
    shift: np.ndarray
    roll: np.ndarray
    zoom: np.ndarray
    gain: np.ndarray
    gradient: np.ndarray
    covered: np.ndarray
    blur: float


def impulse(fps: float, seconds: float) -> np.ndarray:
    """What two one-pole filters in a row make of one sample: (k + 1) p^k, p = exp(-1 / (fps s)).

    Scaled to a sum of squares of 1, so that white noise of unit variance comes out with unit
    variance; its autocorrelation at lag k is p^k (1 + k (1 - p^2) / (1 + p^2)).
    """
    k = np.arange(int(np.ceil(14 * fps * seconds)) + 1)
    answer = (k + 1) * np.exp(-k / (fps * seconds))
    return np.asarray(answer / np.sqrt(np.sum(answer**2)))


def slow_noise(
    rng: np.random.Generator, frames: int, fps: float, seconds: float, columns: int
) -> np.ndarray:
    """Independent columns (frames, columns) of unit-variance noise, smooth over `seconds`."""
    filters = impulse(fps, seconds)
    white = rng.standard_normal((columns, frames + len(filters) - 1))
    return np.stack([np.convolve(row, filters, "valid") for row in white], axis=1)


def events(rng: np.random.Generator, frames: int, rate: float) -> np.ndarray:
    """Frames at which something begins: a Poisson process of `rate` per frame, as indices."""
    return np.flatnonzero(rng.random(frames) < rate)


def blinks(starts: np.ndarray, frames: int, length: int) -> np.ndarray:
    """Closure (frames,) in [0, 1]: a raised cosine of `length` frames after each start."""
    closure = np.zeros(frames)
    one = np.sin(np.pi * np.arange(1, length + 1) / (length + 1)) ** 2
    for start in starts:
        part = closure[start : start + length]
        np.maximum(part, one[: len(part)], out=part)
    return closure


def covers(
    rng: np.random.Generator, starts: np.ndarray, frames: int, lengths: tuple[int, int]
) -> np.ndarray:
    """Which frames (frames,) are covered: each start for between lengths[0] and lengths[1]."""
    covered = np.zeros(frames, dtype=bool)
    for start in starts:
        covered[start : start + rng.integers(lengths[0], lengths[1] + 1)] = True
    return covered


def draw(rng: np.random.Generator, frames: int, fps: float, habits: Habits) -> Drives:
    """One clip's drives; the same generator state gives the same clip.

    Parameters
    ----------
    frames : at least 1
    fps : frames per second, above 0
    """
    lag = round(habits.lag_seconds * fps)
    affect = slow_noise(rng, frames + lag, fps, habits.affect_seconds, 2)
    affect = np.tanh(habits.affect_gain * affect + rng.normal(0, habits.offset_sd, 2))
    truth = affect[lag:]
    jitter = habits.jitter_sd * slow_noise(rng, frames, fps, habits.jitter_seconds, 2)
    shown = np.clip(truth + jitter, -SHOWN_LIMIT, SHOWN_LIMIT)
    syllables = slow_noise(rng, frames, fps, habits.talk_seconds, 1)[:, 0]
    speaking = slow_noise(rng, frames, fps, habits.speech_seconds, 1)[:, 0] > 0
    talk = habits.talk * speaking * np.maximum(syllables, 0)
    closures = events(rng, frames, habits.blinks_per_second / fps)
    motion = slow_noise(rng, frames, fps, habits.motion_seconds, 4)
    light = slow_noise(rng, frames, fps, habits.light_seconds, 3)
    hidden = events(rng, frames, habits.covers_per_second / fps)
    return Drives(
        labels=affect[:frames],
        truth=truth,
        shown=shown,
        opening=np.clip(0.8 * (0.5 * shown[:, 1] + 0.5) + talk, 0, OPENING_LIMIT),
        blink=blinks(closures, frames, max(1, round(habits.blink_seconds * fps))),
        shift=habits.shift_sd * motion[:, :2],
        roll=habits.roll_sd * motion[:, 2],
        zoom=np.exp(habits.zoom_sd * motion[:, 3]),
        gain=np.exp(habits.gain_sd * light[:, 0]),
        gradient=habits.gradient_sd * light[:, 1:],
        covered=covers(rng, hidden, frames, habits.cover_frames),
        blur=float(rng.uniform(0, habits.blur_most)),
    )
