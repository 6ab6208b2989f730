"""The best that can be known of the labels, by how much of a sequence an estimator may see.

Each estimator is told what a head could at best recover from the features: what every frame shows
of valence and arousal, how noisy that is, and the model with all its numbers. It is also told the
sequence's own lag and where the latents start afresh, which a head has to find; the pseudo-labels'
row is what W says. The estimates are posterior means of the labels, so they have the least squared
error; like any such mean they vary less than the labels, and "matched" says what is left of a score
when spread is forgiven.

    frame           E[label_t | frame t]
    window          E[label_t | the frames of its test window], windows of 70 as in testing
    filter          E[label_t | frames up to t]: no causal head can be better
    shifted filter  E[z_s | frames up to s] at s = t - lag: a filter of the present whose output
                    waits for the labels; the same as the filter where the lag is 0
    unshifted filter  E[z_t | frames up to t]: the same filter when nobody knows about the lag
    smoother        E[label_t | all frames]

Convention: exact for labels before they are cut at -1 and 1 (3.3 standard deviations) and, in
"window", for windows laid as `affcache.windows.consecutive` lays them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from affcache.windows import consecutive
from stages.simulate.gaussian import (
    Estimate,
    Evidence,
    Filtered,
    causal,
    filtered,
    looked_ahead,
    predicted,
    smoothed,
)
from stages.simulate.process import DoublePole, Drawn, double_pole, label_rows
from stages.simulate.settings import CacheSettings, Process

WINDOW = 70


class Belief(NamedTuple):
    """What an estimator says of n sequences' labels: mean (n, T, 2), standard deviation (n, T)."""

    mean: np.ndarray
    std: np.ndarray


def beliefs(settings: CacheSettings, drawn: Drawn) -> dict[str, Belief]:
    """Every estimator's belief about the labels of some sequences, by its name."""
    evidence = told(settings, drawn)
    model, process = double_pole(settings.process.pole_frames), settings.process
    rows = label_rows(drawn.lag, settings.frames, settings.reach)
    run = filtered(evidence, model, process.offset_variance)
    now = settings.reach + np.arange(settings.frames)
    estimates = {
        "frame": frame(evidence, drawn.lag, now, model, process),
        "window": window(evidence, drawn.lag, settings, model),
        "filter": _with_own_lag(run, drawn.lag, rows),
    }
    if settings.reach:
        estimates |= {
            "shifted filter": _at(causal(run), rows),
            "unshifted filter": _at(causal(run), np.tile(now, (len(rows), 1))),
        }
    estimates["smoother"] = _at(smoothed(run), rows)
    return {name: as_label(process, estimate) for name, estimate in estimates.items()}


def told(settings: CacheSettings, drawn: Drawn) -> Evidence:
    """The evidence in whole sequences: their frames with a face, nothing of the padding."""
    pad = settings.reach
    seen = np.zeros(drawn.fresh.shape, bool)
    seen[:, pad : pad + settings.frames] = drawn.valid
    return Evidence(drawn.shown, drawn.noise, seen, drawn.fresh)


def frame(
    evidence: Evidence, lag: np.ndarray, now: np.ndarray, model: DoublePole, process: Process
) -> Estimate:
    """Given one frame: its latent shrunk by offset and noise, and by what the lag leaves of it.

    Parameters
    ----------
    lag (n,) : of each sequence
    now (T,) : the rows of the frames
    """
    n = len(lag)
    tie = np.array([model.correlation(int(k)) for k in lag])[:, None] * np.ones(len(now))
    starts = np.cumsum(evidence.fresh, axis=1)
    tie *= starts[:, now] == np.take_along_axis(starts, now - lag[:, None], axis=1)
    share = evidence.seen[:, now] * tie
    share /= 1 + process.offset_variance + evidence.noise[:, now]
    assert share.shape == (n, len(now))
    return Estimate(share[..., None] * evidence.shown[:, now], 1 - share * tie)


def window(
    evidence: Evidence, lag: np.ndarray, settings: CacheSettings, model: DoublePole
) -> Estimate:
    """Given the frames of one test window, for the frames that are scored in it.

    A window is a short sequence of its own, with unseen rows around it that reach as far as a lag.
    """
    pad, frames = settings.reach, settings.frames
    spans = consecutive(frames, WINDOW)
    mean = np.empty((len(lag), frames, 2))
    variance = np.empty((len(lag), frames))
    length = spans[0].stop
    at = np.array([s.start for s in spans])[:, None] + np.arange(length + 2 * pad)
    parts = Evidence(*(_cut(array, at) for array in evidence))
    inside = np.zeros(length + 2 * pad, bool)
    inside[pad : pad + length] = True
    run = filtered(
        parts._replace(seen=parts.seen & inside), model, settings.process.offset_variance
    )
    found = _at(smoothed(run), label_rows(np.repeat(lag, len(spans)), length, pad))
    for k, span in enumerate(spans):
        kept = slice(span.keep - span.start, length)
        mean[:, span.keep : span.stop] = found.mean[k :: len(spans), kept]
        variance[:, span.keep : span.stop] = found.variance[k :: len(spans), kept]
    return Estimate(mean, variance)


def as_label(process: Process, estimate: Estimate) -> Belief:
    """A belief about the latent as one about the label: scaled, with the annotator's noise."""
    variance = np.maximum(estimate.variance, 0) + process.annotator_variance
    return Belief(process.label_scale * estimate.mean, process.label_scale * np.sqrt(variance))


def _with_own_lag(run: Filtered, lag: np.ndarray, rows: np.ndarray) -> Estimate:
    """The latent of each frame's label given the frames up to it, for sequences of any lags."""
    mean, variance = np.empty((*rows.shape, 2)), np.empty(rows.shape)
    for one in np.unique(lag):
        own = lag == one
        part = Filtered(*(array[own] for array in run))
        look: Callable[[Filtered, int], Estimate] = looked_ahead if one >= 0 else predicted
        found = _at(look(part, abs(int(one))), rows[own])
        mean[own], variance[own] = found
    return Estimate(mean, variance)


def _at(estimate: Estimate, rows: np.ndarray) -> Estimate:
    """The rows (n, T) of an estimate."""
    return Estimate(
        np.take_along_axis(estimate.mean, rows[..., None], axis=1),
        np.take_along_axis(estimate.variance, rows, axis=1),
    )


def _cut(array: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Stretches of rows `at` (w, L) of an array (n, S, ...), as sequences (n * w, L, ...)."""
    stretches = array[:, at]
    return stretches.reshape(-1, *stretches.shape[2:])
