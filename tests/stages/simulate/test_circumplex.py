"""The known map from valence and arousal to expressions and action units."""

import numpy as np
import pytest

from affcache.schema import ACTION_UNITS, EXPRESSIONS
from stages.simulate import circumplex


@pytest.fixture
def plane() -> np.ndarray:
    """A grid over the whole plane that avoids exact borders."""
    line = np.linspace(-0.99, 0.98, 60)
    return np.stack(np.meshgrid(line, line), axis=-1)


def at(degrees: float, radius: float) -> np.ndarray:
    """The point in a direction from the middle."""
    return radius * np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])


@pytest.mark.parametrize(
    ("va", "name"),
    [
        ([0.0, 0.0], "Neutral"),
        ([0.24, 0.0], "Neutral"),
        ([0.26, 0.0], "Happiness"),
        ([0.1, 0.5], "Surprise"),
        ([-0.2, 0.5], "Fear"),
        ([-0.4, 0.4], "Anger"),
        ([-0.6, 0.1], "Disgust"),
        ([-0.4, -0.5], "Sadness"),
        ([0.3, -0.6], "Sadness"),
        ([0.5, -0.3], "Happiness"),
    ],
)
def test_the_nearest_direction_names_the_expression(va: list[float], name: str) -> None:
    assert EXPRESSIONS[int(circumplex.expressions(np.array(va)))] == name


def test_neutral_is_the_disc_and_nothing_else(plane: np.ndarray) -> None:
    neutral = circumplex.expressions(plane) == EXPRESSIONS.index("Neutral")
    np.testing.assert_array_equal(neutral, np.hypot(plane[..., 0], plane[..., 1]) < 0.25)


def test_outside_the_disc_the_angle_alone_decides(plane: np.ndarray) -> None:
    angle = np.rad2deg(np.arctan2(plane[..., 1], plane[..., 0]))
    directions = np.array(list(circumplex.DEGREES.values()))
    away = np.abs((angle[..., None] - directions + 180) % 360 - 180).argmin(axis=-1)
    named = np.array([EXPRESSIONS.index(name) for name in circumplex.DEGREES])[away]
    outside = np.hypot(plane[..., 0], plane[..., 1]) > 0.25
    np.testing.assert_array_equal(circumplex.expressions(plane)[outside], named[outside])


def test_units_grow_with_their_expressions_strength() -> None:
    along = np.array([at(10, r) for r in (0.0, 0.05, 0.15, 0.249, 0.251, 0.55, 0.9)])
    smile = circumplex.intensities(along)[:, ACTION_UNITS.index(12)]
    np.testing.assert_allclose(smile, [0, 0, 1, 1.99, 2.01, 5, 5], atol=1e-12)
    present = circumplex.units(along)[:, ACTION_UNITS.index(12)]
    assert present.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_strong_expression_shows_its_units_of_the_table() -> None:
    for name, degrees in circumplex.DEGREES.items():
        shown = circumplex.units(at(degrees, 0.5))
        there = {unit for unit, on in zip(ACTION_UNITS, shown, strict=True) if on}
        assert set(circumplex.UNITS[name]) <= there
    smile = circumplex.units(at(10, 0.3))
    assert [u for u, on in zip(ACTION_UNITS, smile, strict=True) if on] == [6, 12, 25]


def test_every_unit_belongs_to_an_expression() -> None:
    assert {unit for own in circumplex.UNITS.values() for unit in own} == set(ACTION_UNITS)


def test_the_soft_map_agrees_with_the_hard_one(plane: np.ndarray) -> None:
    soft = circumplex.soft_expressions(plane)
    np.testing.assert_allclose(soft.sum(axis=-1), 1)
    np.testing.assert_array_equal(soft.argmax(axis=-1), circumplex.expressions(plane))
    likely = circumplex.soft_units(plane) >= 0.5
    np.testing.assert_array_equal(likely, circumplex.units(plane) == 1)


def test_with_labels_of_the_default_spread_no_class_is_rare() -> None:
    va = 0.3 * np.random.default_rng(0).normal(size=(100_000, 2))
    shares = np.bincount(circumplex.expressions(va), minlength=7) / len(va)
    assert shares.min() > 0.05
    prevalence = circumplex.units(va).mean(axis=0)
    assert 0.1 < prevalence.min() < prevalence.max() < 0.5
