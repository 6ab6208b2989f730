"""What a label of one task says about another: expressions and units are known to go together.

Paper 002, section VI.B. A frame that is labelled by its expression is co-annotated with the units
of that expression, one labelled by units with the expression that they make up, hard (1) or as a
distribution (3); and what is predicted of units is matched with what the predicted expressions
entail (2, equations 8 and 9).

Convention: `table` (7, k) has the weight of every unit in every expression
(`stages.train.relatedness`); labels are NaN where there is none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.train.losses.regression import average

READINGS = ("divergence", "printed")
FLOOR = 0.01  # least and greatest distance of eq. 8's probabilities from 0 and 1


class Units(NamedTuple):
    """Labels of units (..., k), NaN where there is none, and how much each counts (..., k)."""

    truth: Tensor
    weights: Tensor


def units_of_expression(expression: Tensor, units: Tensor, table: Tensor) -> Units:
    """Co-annotation with units (VI.B.1): those of the annotated expression are present.

    Only units of the table are added ("variable length"), weighing what they weigh there; a unit
    that somebody annotated keeps its label and weighs 1. Neutral adds nothing.

    Parameters
    ----------
    expression : (..., 7) of 0 and 1
    units : (..., k) of 0 and 1
    table : (7, k)
    """
    entailed = expression.nan_to_num(0.0) @ table
    missing = units.isnan() & (entailed > 0)
    return Units(
        torch.where(missing, torch.ones_like(units), units),
        torch.where(missing, entailed, torch.ones_like(units)),
    )


def expression_of_units(expression: Tensor, units: Tensor, table: Tensor) -> Tensor:
    """Co-annotation with an expression (VI.B.1): the one all of whose units are annotated present.

    Among several, the one that asks for most units; among those, the first. A frame that has an
    expression keeps it; one whose units make up none has none.

    Returns
    -------
    (..., 7) of 0 and 1, NaN where there is no expression.
    """
    asked = table > 0
    present = (units == 1).unsqueeze(-2) | ~asked
    whole = present.all(-1) & asked.any(-1)
    demands = whole * asked.sum(-1)
    chosen = F.one_hot(demands.argmax(-1), table.shape[0]).to(expression.dtype)
    fits = whole.any(-1, keepdim=True) & expression.isnan()
    return torch.where(fits, chosen, expression)


def soft_expression(units: Tensor, table: Tensor, sharpness: float = 1.0) -> Tensor:
    """Soft co-annotation (VI.B.3): how far a frame's units make up each expression, as a softmax.

    The score of an expression is the weight of its units that are present over the weight of those
    that are annotated. Neutral, of whose score the paper says nothing, asks for no unit: it scores
    what the best of the others lacks, 1 where no unit is present.

    Scores lie in [0, 1]. In the paper's softmax of them no probability is more than e times
    another: a perfect smile is happiness with at most 0.31, and learning such labels presses what
    is sure towards the middle. `sharpness` multiplies the scores, and with 10 a label can be sure.

    Returns
    -------
    (..., 7) that add up to 1; NaN where no unit is annotated.
    """
    known = units.isfinite()
    there = units.nan_to_num(0.0) @ table.mT
    asked = known.to(table.dtype) @ table.mT
    score = there / asked.clamp(min=torch.finfo(table.dtype).tiny)
    named = (table > 0).any(-1)
    score = torch.where(named, score, 1 - score.amax(-1, keepdim=True))
    nothing = ~known.any(-1, keepdim=True)
    return (sharpness * score).softmax(-1).masked_fill(nothing, torch.nan)


def entailed_units(expressions: Tensor, table: Tensor) -> Tensor:
    """q of eq. 8: probabilities of units (..., k) as a mixture over those of expressions (..., 7).

    p(unit | expression) is 1 for every unit that the table names for the expression, else 0.
    """
    return expressions @ (table > 0).to(expressions.dtype)


def distribution_matching(
    expression_logits: Tensor,
    unit_logits: Tensor,
    mask: Tensor,
    table: Tensor,
    reading: str = "divergence",
) -> Tensor:
    """Eq. 9 over the units that the table knows, averaged over the frames of mask (B, L).

    As printed, - sum of p log q lacks the half of each unit that is absent: where the network
    minimises it, every p falls to 0 or every q rises to 1. Its footnote 4 says what is meant, the
    divergence KL(p || q) over the units, each of which is present or not ("divergence"); it is
    averaged over them as eq. 7 averages the units' own term, which a sum would outweigh. q keeps a
    distance of 0.01 from 0 and 1, because no table is that sure.

    Returns
    -------
    A scalar in nats, 0 where mask is false everywhere.
    """
    nowhere = ~mask.unsqueeze(-1)
    expressions = expression_logits.masked_fill(nowhere, 0.0).softmax(-1)
    logits = unit_logits.masked_fill(nowhere, 0.0)
    q = FLOOR + (1 - 2 * FLOOR) * entailed_units(expressions, table)
    p = logits.sigmoid()
    known = (table > 0).any(0)
    if reading == "printed":
        return average((-p * q.log() * known).sum(-1), mask)
    present, absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    terms = p * (present - q.log()) + (1 - p) * (absent - (1 - q).log())
    return average((terms * known).sum(-1) / known.sum().clamp(min=1), mask)
