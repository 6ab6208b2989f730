"""What tasks teach each other, on a table that is small enough to work out by hand."""

import math

import pytest
import torch
from torch import Tensor

from stages.train.losses.couplings import (
    FLOOR,
    distribution_matching,
    entailed_units,
    expression_of_units,
    soft_expression,
    units_of_expression,
)

NAN = math.nan
# Neutral; joy: unit 0 always, unit 1 at times; fear: units 0, 1 and 2. Unit 3 belongs to nobody.
TABLE = torch.tensor([[0, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0.25, 0]], dtype=torch.float64)
NEUTRAL, JOY, FEAR = torch.eye(3, dtype=torch.float64)
NOBODY = torch.full((3,), NAN, dtype=torch.float64)


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_an_expression_brings_its_units_and_nobody_elses() -> None:
    truth, weights = units_of_expression(JOY, row(NAN, NAN, NAN, NAN), TABLE)
    same(truth, row(1, 1, NAN, NAN))
    same(weights, row(1, 0.5, 1, 1))


def test_units_that_somebody_annotated_keep_their_label() -> None:
    truth, weights = units_of_expression(FEAR, row(0, NAN, NAN, 1), TABLE)
    same(truth, row(0, 1, 1, 1))
    same(weights, row(1, 1, 0.25, 1))


@pytest.mark.parametrize("expression", [NEUTRAL, NOBODY])
def test_neutral_and_no_expression_bring_no_units(expression: Tensor) -> None:
    units = row(NAN, 1, NAN, 0)
    truth, weights = units_of_expression(expression, units, TABLE)
    same(truth, units)
    same(weights, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("units", "expression"),
    [
        (row(1, 1, 0, 0), JOY),
        (row(1, 1, 1, 0), FEAR),  # joy's units are there, too, but fear asks for more
        (row(1, 1, NAN, NAN), JOY),  # a unit that nobody looked at is not present
        (row(1, 0, 1, 1), NOBODY),
        (row(0, 0, 0, 0), NOBODY),  # never neutral, which asks for nothing
        (row(NAN, NAN, NAN, NAN), NOBODY),
    ],
)
def test_units_make_up_the_expression_that_asks_for_most(units: Tensor, expression: Tensor) -> None:
    same(expression_of_units(NOBODY, units, TABLE), expression)


def test_an_annotated_expression_stays_whatever_the_units_say() -> None:
    same(expression_of_units(NEUTRAL, row(1, 1, 1, 1), TABLE), NEUTRAL)


def test_a_soft_expression_is_the_softmax_of_shares_of_weight() -> None:
    scores = row(1 - 1 / 1.5, 1 / 1.5, 1.25 / 2.25)
    same(soft_expression(row(1, 0, 1, 1), TABLE), scores.softmax(0))
    same(soft_expression(row(1, 0, 1, 1), TABLE, 10.0), (10 * scores).softmax(0))
    same(soft_expression(row(0, 0, 0, 1), TABLE, 10.0), row(10, 0, 0).softmax(0))


def test_units_that_nobody_looked_at_are_out_of_both_sums() -> None:
    scores = row(0, 1, 1 / 1.25)
    same(soft_expression(row(1, NAN, 0, NAN), TABLE), scores.softmax(0))
    same(soft_expression(row(NAN, NAN, NAN, 1), TABLE), row(1, 0, 0).softmax(0))
    same(soft_expression(row(NAN, NAN, NAN, NAN), TABLE), NOBODY)


def test_units_are_a_mixture_over_expressions() -> None:
    # eq. 8, as the paper works it out: a unit of two expressions has the sum of their probabilities
    same(entailed_units(row(0.2, 0.5, 0.3), TABLE), row(0.8, 0.8, 0.3, 0))


def logits(probabilities: Tensor) -> Tensor:
    return torch.log(probabilities / (1 - probabilities))


def test_matching_is_the_divergence_of_units_that_the_table_knows() -> None:
    expressions, p = row(0.2, 0.5, 0.3), row(0.6, 0.9, 0.2, 0.99)
    mask = torch.ones(1, 1, dtype=torch.bool)
    arguments = expressions.log()[None, None], logits(p)[None, None], mask, TABLE
    q = FLOOR + (1 - 2 * FLOOR) * row(0.8, 0.8, 0.3)
    known = p[:3]
    by_hand = (known * (known / q).log() + (1 - known) * ((1 - known) / (1 - q)).log()).mean()
    same(distribution_matching(*arguments), by_hand)
    same(distribution_matching(*arguments, "printed"), -(known * q.log()).sum())


def test_matching_is_least_where_both_tasks_agree_and_as_printed_where_no_unit_is_active() -> None:
    expressions = row(0.2, 0.5, 0.3)
    q = FLOOR + (1 - 2 * FLOOR) * row(0.8, 0.8, 0.3)
    agreeing, silent = torch.cat([q, row(0.5)]), row(1e-6, 1e-6, 1e-6, 0.5)
    mask = torch.ones(1, 1, dtype=torch.bool)

    def value(p: Tensor, reading: str) -> float:
        given = expressions.log()[None, None], logits(p)[None, None], mask, TABLE, reading
        return distribution_matching(*given).item()

    assert value(agreeing, "divergence") == pytest.approx(0, abs=1e-9)
    assert value(silent, "divergence") > 0.5
    assert value(silent, "printed") < 1e-4 < value(agreeing, "printed")


@pytest.mark.parametrize("reading", ["divergence", "printed"])
def test_gradients_of_matching_are_those_of_the_formula(reading: str) -> None:
    draw = torch.Generator().manual_seed(0)
    expressions, units = (
        torch.randn(2, 3, k, generator=draw, dtype=torch.float64, requires_grad=True)
        for k in (3, 4)
    )
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def loss(one: Tensor, other: Tensor) -> Tensor:
        return distribution_matching(one, other, mask, TABLE, reading)

    assert torch.autograd.gradcheck(loss, (expressions, units))


def test_matching_ignores_frames_that_do_not_count() -> None:
    draw = torch.Generator().manual_seed(0)
    expressions = torch.randn(1, 4, 3, generator=draw, dtype=torch.float64)
    units = torch.randn(1, 4, 4, generator=draw, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False]])
    before = distribution_matching(expressions, units, mask, TABLE)
    expressions[~mask], units[~mask] = torch.nan, torch.inf
    same(distribution_matching(expressions, units, mask, TABLE), before)
    assert distribution_matching(expressions, units, torch.zeros_like(mask), TABLE) == 0
