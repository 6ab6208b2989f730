"""The trailing mean against a loop that says what is meant."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.train.smoothing import trailing_mean


@given(
    st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.integers(-9, 9)), min_size=1),
    st.integers(1, 20),
)
def test_it_is_the_mean_of_the_valid_frames_of_the_last_moment(
    steps: list[tuple[int, bool, int]], ticks: int
) -> None:
    gaps, valid, values = (np.array(column) for column in zip(*steps, strict=True))
    time = np.cumsum(gaps) / 25
    found = trailing_mean(values[:, None].astype(float), valid, time, ticks / 25)
    for t, now in enumerate(np.cumsum(gaps)):
        inside = valid & (np.cumsum(gaps) <= now) & (np.cumsum(gaps) > now - ticks)
        if valid[t]:
            np.testing.assert_allclose(found[t, 0], values[inside].mean(), atol=1e-12)
        else:
            assert np.isnan(found[t, 0])


def test_values_of_frames_without_a_face_are_never_looked_at() -> None:
    values = np.array([[1.0], [np.nan], [3.0]])
    found = trailing_mean(values, np.array([True, False, True]), np.arange(3) / 10, 1.0)
    np.testing.assert_array_equal(found, [[1.0], [np.nan], [2.0]])
