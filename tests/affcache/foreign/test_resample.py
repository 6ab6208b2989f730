"""Labels brought to frames: the stated rule, against a plain reading of it and np.interp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affcache.foreign.resample import linear, nearest, period_of


def linear_plainly(time: float, at: np.ndarray, values: np.ndarray) -> float:
    """The rule, read aloud, for one frame."""
    period = period_of(at)
    for k in range(len(at) - 1):
        both = np.isfinite(values[k]) and np.isfinite(values[k + 1])
        if at[k] <= time <= at[k + 1] and both and at[k + 1] - at[k] <= 1.5 * period:
            share = (time - at[k]) / (at[k + 1] - at[k])
            return float(values[k] + share * (values[k + 1] - values[k]))
    labelled = [(abs(a - time), a, v) for a, v in zip(at, values, strict=True) if np.isfinite(v)]
    if not labelled:
        return np.nan
    distance, _, value = min(labelled)
    return float(value) if distance <= period * 0.5 + 1e-9 else np.nan


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.lists(st.integers(-10, 300), min_size=1, max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_linear_is_the_rule_read_aloud(steps: list[int], frames: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.cumsum(steps) / 8
    time = np.array(sorted(set(frames))) / 8
    values = np.where(rng.random(len(at)) < 0.3, np.nan, rng.normal(size=len(at)))
    want = [linear_plainly(t, at, values) for t in time]
    np.testing.assert_allclose(linear(time, at, values), want, atol=1e-12)


@pytest.mark.parametrize(("rate", "frames"), [(10, 25), (25, 25), (50, 30), (1, 30)])
def test_within_a_whole_trace_it_is_plain_interpolation(rate: float, frames: float) -> None:
    at, time = np.arange(0, 20, 1 / rate), np.arange(0, 18, 1 / frames)
    values = np.sin(at)
    np.testing.assert_allclose(linear(time, at, values), np.interp(time, at, values), atol=1e-12)


def test_labels_reach_half_a_period_beyond_their_ends_and_no_further() -> None:
    time = np.array([-0.06, -0.05, 0.0, 0.1, 0.15, 0.16])
    found = linear(time, np.array([0.0, 0.1]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [np.nan, 1, 1, 2, 2, np.nan])


def test_a_gap_in_the_trace_is_not_bridged() -> None:
    at = np.array([0, 1, 2, 3, 7, 8, 9.0])
    found = linear(np.array([2.5, 3.4, 5.0, 6.6, 7.5]), at, at)
    np.testing.assert_allclose(found, [2.5, 3, np.nan, 7, 7.5])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.lists(st.integers(-10, 300), min_size=1, max_size=30),
)
def test_nearest_takes_the_nearest_and_the_earlier_of_two(
    steps: list[int], frames: list[int]
) -> None:
    at, time = np.cumsum(steps) / 8, np.array(sorted(set(frames))) / 8
    values = np.arange(len(at), dtype=np.int8)
    found = nearest(time, at, values, -1)
    assert found.dtype == np.int8
    for t, value in zip(time, found, strict=True):
        distance = np.abs(at - t)
        near = distance.min() <= period_of(at) / 2 + 1e-9
        assert value == (int(distance.argmin()) if near else -1)


def test_rows_of_several_units_move_together() -> None:
    values = np.array([[0, 1], [1, 0]], np.int8)
    found = nearest(np.array([0.04, 0.06]), np.array([0.0, 0.1]), values, -1)
    np.testing.assert_array_equal(found, values)


def test_nothing_to_take_from_is_nothing_found() -> None:
    time = np.arange(3.0)
    assert np.isnan(linear(time, np.empty(0), np.empty(0))).all()
    assert (nearest(time, np.empty(0), np.empty(0, np.int8), -1) == -1).all()
    np.testing.assert_array_equal(
        linear(time, np.array([1.0]), np.array([5.0])), [np.nan, 5, np.nan]
    )
