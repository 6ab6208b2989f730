"""Rules from units to expressions, and what a model is sure of, against counts by hand."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.train.confident import NEAR, sure_classes, sure_numbers, sure_units
from stages.train.rules import Rule, apply, mine


def one_hot(classes: list[int], count: int = 3) -> np.ndarray:
    return np.eye(count)[classes]


def test_a_pattern_that_mostly_means_one_expression_is_a_rule() -> None:
    au = np.array([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10 + [[1.0, 1.0]] * 3)
    expr = one_hot([2] * 9 + [0] + [1] * 5 + [2] * 5 + [0] * 3)
    assert mine(au, expr, min_support=5, min_confidence=0.8) == [Rule((1, 0), 2, 10, 0.9)]
    assert mine(au, expr, min_support=3, min_confidence=0.95) == [Rule((1, 1), 0, 3, 1.0)]
    assert mine(au, expr, min_support=11, min_confidence=0.1) == []


def test_frames_that_lack_a_unit_or_an_expression_teach_no_rule_and_get_none() -> None:
    au = np.array([[1.0, 0.0], [1.0, np.nan], [1.0, 0.0], [0.0, 0.0]])
    expr = one_hot([1, 1, 1, 0])
    expr[2] = np.nan
    (rule, other) = mine(au, expr, min_support=1, min_confidence=0.5)
    assert (rule.support, other.support) == (1, 1)
    said = apply([Rule((1, 0), 1, 1, 1.0)], au, 3)
    np.testing.assert_array_equal(said[[0, 2]], one_hot([1, 1]))
    assert np.isnan(said[[1, 3]]).all()


def test_nothing_to_mine_is_no_rule() -> None:
    assert mine(np.full((4, 12), np.nan), np.full((4, 7), np.nan)) == []
    assert np.isnan(apply([], np.zeros((3, 12)), 7)).all()


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), max_size=60), st.integers(1, 6))
def test_rules_are_what_counting_gives(frames: list[tuple[int, int]], support: int) -> None:
    au = np.array([[p >> k & 1 for k in range(3)] for p, _ in frames], float).reshape(-1, 3)
    expr = one_hot([e for _, e in frames]).reshape(-1, 3)
    rules = {rule.units: rule for rule in mine(au, expr, support, 0.6)}
    for pattern in range(8):
        counts = Counter(e for p, e in frames if p == pattern)
        units = tuple(pattern >> k & 1 for k in range(3))
        total, most = sum(counts.values()), max(counts.values(), default=0)
        if total >= support and most / total >= 0.6:
            assert rules[units].support == total
            assert rules[units].confidence == most / total
            assert counts[rules[units].expression] == most
        else:
            assert units not in rules


def test_sure_classes_and_units_are_those_beyond_the_threshold() -> None:
    probability = np.array([[0.8, 0.1, 0.1], [0.79, 0.2, 0.01], [np.nan] * 3])
    said = sure_classes(probability, 0.8)
    np.testing.assert_array_equal(said, [[1, 0, 0], [np.nan] * 3, [np.nan] * 3])
    units = sure_units(np.array([[0.9, 0.05, 0.5, np.nan]]), 0.9)
    np.testing.assert_array_equal(units, [[1, 0, np.nan, np.nan]])


def test_numbers_are_sure_where_the_gaussian_is_narrow_or_the_expression_is_sure() -> None:
    mean = np.array([[0.1, 0.2], [0.3, -0.4], [np.nan, np.nan]])
    std = np.array([[0.1, 0.19], [0.1, 0.2], [np.nan, np.nan]])
    normal = torch.distributions.Normal(0.0, torch.tensor([0.19, 0.2]))
    inside = 2 * normal.cdf(torch.tensor(NEAR)) - 1
    assert inside[0] > 0.8 > inside[1]
    said = sure_numbers(mean, std, None, 0.8)
    np.testing.assert_allclose(said, [[0.1, 0.2], [np.nan] * 2, [np.nan] * 2], rtol=1e-6)
    expression = np.array([[np.nan] * 3, [0, 1, 0], [np.nan] * 3])
    said = sure_numbers(mean, None, expression, 0.8)
    np.testing.assert_allclose(said, [[np.nan] * 2, [0.3, -0.4], [np.nan] * 2], rtol=1e-6)
    with pytest.raises(ValueError, match="neither a standard deviation nor an expression"):
        sure_numbers(mean, None, None, 0.8)
