"""Votes: by hand, and by counting out loud."""

from collections import Counter

import numpy as np
import pytest

from stages.train.experiments.voting import majority, mean, one_hot, vote


def test_six_models_and_a_tie_that_the_mean_probability_settles() -> None:
    # three for class 0 and three for class 1; those for class 1 are surer
    opinions = np.array([[[0.5, 0.4, 0.1]]] * 3 + [[[0.1, 0.8, 0.1]]] * 3)
    assert majority("expr", opinions).tolist() == [[0, 1, 0]]
    units = np.array([[[0.6, 0.9]]] * 3 + [[[0.1, 0.3]]] * 3)
    assert majority("au", units).tolist() == [[0, 1]]


def test_a_majority_outweighs_however_sure_a_minority() -> None:
    opinions = np.array([[[0.34, 0.33, 0.33]]] * 2 + [[[0.0, 1.0, 0.0]]])
    assert majority("expr", opinions).tolist() == [[1, 0, 0]]
    assert mean(opinions).argmax() == 1
    units = np.array([[[0.5]], [[0.5]], [[0.0]]])
    assert majority("au", units).tolist() == [[1]]


def test_the_majority_is_what_counting_gives() -> None:
    draw = np.random.default_rng(0)
    opinions = draw.dirichlet(np.ones(7), size=(5, 200))
    said = majority("expr", opinions).argmax(axis=-1)
    checked = 0
    for t in range(200):
        (first, most), *rest = Counter(opinions[:, t].argmax(-1).tolist()).most_common()
        if not rest or rest[0][1] < most:
            assert said[t] == first
            checked += 1
    assert checked > 100
    units = draw.random((5, 200, 12))
    by_median = np.median(units, axis=0) >= 0.5
    np.testing.assert_array_equal(majority("au", units), by_median)


def test_numbers_are_averaged_and_silence_stays_silence() -> None:
    draw = np.random.default_rng(1)
    opinions = draw.random((3, 4, 2 + 7 + 12))
    opinions[:, 2] = np.nan
    columns = [("va", slice(0, 2)), ("expr", slice(2, 9)), ("au", slice(9, 21))]
    for rule in ("mean", "majority"):
        said = vote(columns, opinions, rule)
        assert said.shape == (4, 21)
        assert np.isnan(said[2]).all()
        assert np.isfinite(said[[0, 1, 3]]).all()
        np.testing.assert_allclose(said[0, :2], opinions[:, 0, :2].mean(axis=0))
    np.testing.assert_allclose(vote(columns, opinions, "mean")[[0]], opinions[:, 0].mean(0)[None])
    with pytest.raises(ValueError, match="rule 'loudest'"):
        vote(columns, opinions, "loudest")


def test_the_first_of_equals_is_chosen() -> None:
    assert one_hot(np.array([[0.2, 0.4, 0.4]])).tolist() == [[0, 1, 0]]
