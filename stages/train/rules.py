"""Rules from action units to expressions, mined from frames that are annotated for both.

Paper 004, section 3.4: "some AUs mostly indicate the same expression classes", such as one pattern
that "mostly occurs when conveying surprise emotion". A rule is a whole pattern of units, the
expression that it mostly means, how often it was seen and how often it meant that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Rule(NamedTuple):
    """A pattern of units (0 and 1), what it means, and how surely.

    Attributes
    ----------
    units : one 0 or 1 per unit
    expression : index of the class
    support : annotated frames that show the pattern
    confidence : share of them that have this expression, in (0, 1]
    """

    units: tuple[int, ...]
    expression: int
    support: int
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """What provenance says of it."""
        return self._asdict() | {"units": list(self.units)}


def mine(
    au: np.ndarray, expr: np.ndarray, min_support: int = 20, min_confidence: float = 0.8
) -> list[Rule]:
    """Patterns that are frequent enough and mean one expression often enough.

    Parameters
    ----------
    au : (N, units) of 0 and 1, NaN where a unit is not annotated; such frames teach no rule
    expr : (N, classes), one 1 among zeros, NaN where there is none
    min_support : fewest frames of a pattern
    min_confidence : least share of its frames that have the commonest expression

    Returns
    -------
    Rules, the best supported first.
    """
    known = np.isfinite(au).all(axis=1) & np.isfinite(expr).all(axis=1)
    patterns, which = np.unique(au[known].astype(np.int8), axis=0, return_inverse=True)
    counts = np.zeros((len(patterns), expr.shape[1]), np.int64)
    np.add.at(counts, (which.reshape(-1), expr[known].argmax(axis=1)), 1)
    rules = [
        Rule(tuple(pattern.tolist()), int(own.argmax()), int(own.sum()), own.max() / own.sum())
        for pattern, own in zip(patterns, counts, strict=True)
    ]
    good = [r for r in rules if r.support >= min_support and r.confidence >= min_confidence]
    return sorted(good, key=lambda rule: (-rule.support, rule.units))


def apply(rules: Sequence[Rule], au: np.ndarray, classes: int) -> np.ndarray:
    """What the rules say of frames: (N, units) to (N, classes), NaN where none applies.

    A frame whose units are not all annotated matches no rule.
    """
    said = np.full((len(au), classes), np.nan, np.float32)
    meaning = {rule.units: rule.expression for rule in rules}
    for row in np.flatnonzero(np.isfinite(au).all(axis=1)):
        expression = meaning.get(tuple(au[row].astype(int).tolist()))
        if expression is not None:
            said[row] = np.arange(classes) == expression
    return said
