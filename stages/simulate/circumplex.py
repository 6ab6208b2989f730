"""Expressions and action units that follow from valence and arousal by a known map.

Six expressions lie on the circumplex, each in a direction of its own; the nearest one is shown
outside a disc about the middle, Neutral inside. An expression is as strong as (valence, arousal)
reaches into its direction, and an action unit as the strongest expression that it belongs to.
Which units belong to which expression is the table of prototypical and observational units that
paper 002 uses (Table V, from Du, Tao and Martinez 2014), as far as a cache has those units.

The order of the directions is the circumplex's; angles and thresholds are this simulator's own.

Convention: expressions and units in the order of `affcache.schema`; intensities from 0 to 5.
"""

from __future__ import annotations

import numpy as np

from affcache.schema import ACTION_UNITS, EXPRESSIONS

DISC = 0.25  # radius of Neutral
DEGREES = {  # from valence towards arousal
    "Happiness": 10.0,
    "Surprise": 70.0,
    "Fear": 110.0,
    "Anger": 140.0,
    "Disgust": 170.0,
    "Sadness": 235.0,
}
UNITS = {
    "Happiness": (6, 12, 25),
    "Surprise": (1, 2, 25, 26),
    "Fear": (1, 2, 4, 25, 26),
    "Anger": (4, 7, 10, 23, 24),
    "Disgust": (4, 10, 24),
    "Sadness": (1, 4, 6, 15),
}
MOST = 5.0  # intensity
SLOPE, ONSET = 10.0, 0.05  # intensity = SLOPE (strength - ONSET)
PRESENT = 2.0  # intensity from which a unit counts as present
SOFTNESS = 0.1  # of the soft map, in units of valence and arousal

_ANGLES = np.deg2rad(list(DEGREES.values()))
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_COLUMNS = np.array([EXPRESSIONS.index(name) for name in DEGREES])
_MEMBERS = [[i for i, e in enumerate(DEGREES) if unit in UNITS[e]] for unit in ACTION_UNITS]


def strengths(va: np.ndarray) -> np.ndarray:
    """How far (valence, arousal) (..., 2) reaches into each direction of DEGREES, (..., 6)."""
    return np.asarray(va @ _DIRECTIONS)


def strongest(va: np.ndarray) -> np.ndarray:
    """How far (valence, arousal) reaches into the nearest direction of each unit, (..., 12)."""
    reached = np.moveaxis(strengths(va), -1, 0)
    return np.stack([np.maximum.reduce(reached[own]) for own in _MEMBERS], axis=-1)


def expression_scores(va: np.ndarray) -> np.ndarray:
    """Scores (..., 7) whose largest is the expression: Neutral wins inside the disc, only there."""
    reached = strengths(va)
    scores = np.empty((*va.shape[:-1], len(EXPRESSIONS)))
    scores[..., _COLUMNS] = reached
    scores[..., EXPRESSIONS.index("Neutral")] = (
        reached.max(axis=-1) + DISC - np.linalg.norm(va, axis=-1)
    )
    return scores


def expressions(va: np.ndarray) -> np.ndarray:
    """The expression's index (...,) int8."""
    return np.asarray(expression_scores(va).argmax(axis=-1), np.int8)


def intensities(va: np.ndarray) -> np.ndarray:
    """Intensity (..., 12) of each action unit, from 0 to 5."""
    return np.asarray(np.clip(SLOPE * (strongest(va) - ONSET), 0, MOST))


def units(va: np.ndarray) -> np.ndarray:
    """Which action units are present (..., 12), int8 0 or 1."""
    return (intensities(va) >= PRESENT).astype(np.int8)


def soft_expressions(va: np.ndarray) -> np.ndarray:
    """Probabilities (..., 7) of the soft map: a softmax of the scores, its largest the same."""
    scores = expression_scores(va) / SOFTNESS
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def soft_units(va: np.ndarray) -> np.ndarray:
    """Probabilities (..., 12) of the soft map: one half where a unit's presence begins."""
    away = strongest(va) - (PRESENT / SLOPE + ONSET)
    return np.asarray(1 / (1 + np.exp(-away / SOFTNESS)))
