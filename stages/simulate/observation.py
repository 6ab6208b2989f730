"""What a simulated backbone makes of a frame: features that hide nothing, and a plain classifier.

Nine numbers enter: what the frame shows of valence and arousal, the logarithm of its noise and two
more nuisances, and four numbers of the person. They pass 64 tanh units, a matrix to 512 features,
and white noise, so that a head can recover what was shown but has to learn how. The classifier W
reads the shown valence and arousal and gives them the spread that they have with labels: it knows
neither the frame's reliability nor the sequence's offset. Expressions and units are the soft
version of the known map (`circumplex`), applied to W's valence and arousal.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from stages.simulate.process import FEATURES, PERSON
from stages.simulate.settings import Backbone, CacheSettings, Process

PERSON_NUMBERS = 4
INPUTS = 2 + 3 + PERSON_NUMBERS


class Network(NamedTuple):
    """The weights: inputs -> units (INPUTS, units) with bias (units,), units -> (units, width)."""

    into: np.ndarray
    bias: np.ndarray
    out: np.ndarray


def network(backbone: Backbone, stream: str | None = None, width: int | None = None) -> Network:
    """The fixed random network of a backbone's seed; unit variance is kept up to the bending.

    Parameters
    ----------
    stream, width : of a further stream, which has a network of its own; None for the features
    """
    width = width or backbone.width
    rng = np.random.default_rng([backbone.seed, backbone.units, width, *_number(stream)])
    into = backbone.gain * rng.standard_normal((INPUTS, backbone.units))
    bias = 0.5 * rng.standard_normal(backbone.units)
    out = rng.standard_normal((backbone.units, width)) / np.sqrt(backbone.units)
    return Network(*(part.astype(np.float32) for part in (into, bias, out)))


def features(
    settings: CacheSettings,
    weights: Network,
    video: int,
    shown: np.ndarray,
    nuisance: np.ndarray,
    stream: str | None = None,
) -> np.ndarray:
    """A video's features or another stream (T, width) float32, from rows that are not padded.

    Parameters
    ----------
    video : counted from 0; decides the noise and, with the number of subjects, the person
    shown (T, 2), nuisance (T, 3) : as in `process.Drawn`
    stream : None for the features; a stream shows the same numbers under noise of its own
    """
    backbone = settings.backbone
    person = np.random.default_rng([settings.seed, PERSON, video % settings.people])
    numbers = backbone.identity * person.standard_normal(PERSON_NUMBERS)
    inputs = np.concatenate([shown, nuisance, np.tile(numbers, (len(shown), 1))], axis=1)
    units = np.tanh(inputs.astype(np.float32) @ weights.into + weights.bias)
    rng = np.random.default_rng([settings.seed, FEATURES, video, *_number(stream)])
    noise = rng.standard_normal((len(shown), weights.out.shape[1]), dtype=np.float32)
    noise *= np.float32(backbone.noise)
    noise += units @ weights.out
    return noise


def classified(process: Process, shown: np.ndarray) -> np.ndarray:
    """W's valence and arousal in [-1, 1] of what is shown (..., 2).

    The shown values brought to the labels' spread: of all multiples of them nearly the best for
    CCC, sqrt(1 / (1 + offset + noise)) = .60 with the defaults.
    """
    spread = np.sqrt(1 + process.offset_variance + process.noise_variance)
    return np.asarray(np.clip(process.label_scale / spread * shown, -1, 1))


def _number(stream: str | None) -> list[int]:
    """What a stream's name adds to the seed of its random numbers."""
    return [] if stream is None else [zlib.crc32(stream.encode())]
