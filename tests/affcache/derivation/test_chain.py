"""Feature chains as maths: windows against a plain loop, counts and signs against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from affcache.derivation.chain import Chain, Projection, components_for, pool, scaling_of, signed


def pooled_plainly(rows: np.ndarray, valid: np.ndarray, before: int, behind: int) -> np.ndarray:
    found = np.zeros((len(rows), 2 * rows.shape[1]))
    for t in range(len(rows)):
        window = slice(max(t - before, 0), t + behind + 1)
        there = rows[window][valid[window]]
        if len(there):
            found[t] = np.concatenate([there.mean(axis=0), there.std(axis=0)])
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60), st.floats(0, 1))
def test_pooling_is_mean_and_deviation_over_the_valid_rows_of_each_window(
    seed: int, frames: int, window: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(frames, 3)) * [1, 100, 0] + [5, -1000, 7]
    valid = rng.random(frames) < share
    before = int(rng.integers(window))
    found = pool(rows, valid, before, window - 1 - before)
    want = pooled_plainly(rows, valid, before, window - 1 - before)
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-4)
    assert (found[:, 5] == 0).all(), "a column that does not vary deviates by nothing at all"


@pytest.mark.parametrize(
    ("align", "window", "reach"),
    [("causal", 150, (149, 0)), ("centred", 7, (3, 3)), ("centred", 150, (75, 74))],
)
def test_a_window_reaches_as_far_as_it_says(
    align: str, window: int, reach: tuple[int, int]
) -> None:
    assert Chain(window=window, align=align).reach == reach


@pytest.mark.parametrize("align", ["causal", "centred"])
@pytest.mark.parametrize("step", [1, 7, 50, 200])
def test_blocks_of_any_size_give_what_the_whole_video_gives(align: str, step: int) -> None:
    rng = np.random.default_rng(0)
    features, valid = rng.normal(size=(200, 6)).astype("f2"), rng.random(200) < 0.8
    projection = Projection(rng.normal(size=6), rng.normal(size=(4, 6)))
    chain = Chain(projection=projection, window=25, align=align)
    whole = chain.apply(features, valid, 0, 200)
    blocks = [
        chain.apply(features, valid, start, min(start + step, 200)) for start in range(0, 200, step)
    ]
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=1e-9, atol=1e-9)
    assert not whole[~valid].any()
    assert whole.shape == (200, chain.width(6)) == (200, 8)


def test_a_causal_chain_does_not_see_the_future() -> None:
    rng = np.random.default_rng(1)
    features, valid = rng.normal(size=(90, 4)), np.ones(90, bool)
    later = features.copy()
    later[50:] += 100
    chain = Chain(window=10)
    np.testing.assert_allclose(
        chain.apply(features, valid, 0, 50), chain.apply(later, valid, 0, 50)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.999))
def test_as_many_components_are_kept_as_scikit_learn_keeps(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(50, 8)) * rng.random(8)
    full = PCA(svd_solver="full").fit(rows)
    kept = components_for(full.explained_variance_, full.explained_variance_.sum(), share)
    assert kept == PCA(share, svd_solver="full").fit(rows).n_components_


def test_a_number_of_components_is_that_number_if_there_are_as_many() -> None:
    assert components_for(np.ones(5), 5.0, 3) == 3
    assert components_for(np.ones(5), 5.0, 84) == 5


def test_the_largest_entry_of_a_component_is_positive() -> None:
    rows = np.array([[0.1, -0.9, 0.3], [0.8, 0.1, -0.2]])
    np.testing.assert_array_equal(signed(rows), rows * [[-1], [1]])
    np.testing.assert_array_equal(signed(-rows), signed(rows))


def test_scaling_is_that_of_scikit_learn_for_columns_that_vary_and_that_do_not() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(1000, 4)) * [1, 1e-6, 0, 0] + [3, 1000, 0.1, 0]
    want = StandardScaler().fit(rows)
    found = scaling_of(rows.mean(axis=0), rows.var(axis=0), len(rows))
    np.testing.assert_allclose(found.scale, want.scale_, rtol=1e-6)
    np.testing.assert_allclose(found.mean, want.mean_)
