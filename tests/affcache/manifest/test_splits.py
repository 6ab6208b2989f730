"""Splitting by shares and patterns: everybody somewhere, nobody twice, no part empty."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from affcache.manifest import splits
from affcache.schema import SPLITS

names = st.sets(st.text("pq0123456789", min_size=1, max_size=4), min_size=1, max_size=60)
parts = st.lists(st.integers(1, 20), min_size=1, max_size=3)


def shares_of(weights: list[int]) -> dict[str, float]:
    return {s: w / sum(weights) for s, w in zip(SPLITS, weights, strict=False)}


@given(names, parts)
def test_everybody_is_in_one_split_and_the_splits_are_consecutive(
    people: set[str], weights: list[int]
) -> None:
    found = splits.by_share(people, shares_of(weights))
    assert set(found) == people
    ordered = [SPLITS.index(found[name]) for name in sorted(people, key=splits.natural)]
    assert ordered == sorted(ordered)


@given(names, parts)
def test_counts_are_the_shares_to_within_one_unless_a_split_would_be_empty(
    people: set[str], weights: list[int]
) -> None:
    shares = shares_of(weights)
    found = list(splits.by_share(people, shares).values())
    exact = {split: len(people) * share for split, share in shares.items()}
    if len(people) >= len(shares):
        assert set(found) == set(shares)
    if min(exact.values()) >= 1:
        assert all(abs(found.count(split) - exact[split]) < 1 for split in shares)


def test_twelve_people_in_the_demos_shares() -> None:
    people = [f"p{k:02d}" for k in range(1, 13)]
    found = splits.by_share(people, {"train": 0.6, "validation": 0.15, "test": 0.25})
    assert [list(found.values()).count(split) for split in SPLITS] == [7, 2, 3]
    assert [found[name] for name in ("p01", "p07", "p08", "p10")] == [
        "train",
        "train",
        "validation",
        "test",
    ]


def test_without_shares_nobody_is_anywhere() -> None:
    assert splits.by_share(["a"], {}) == {}


def test_patterns_tell_capitals_apart_and_the_first_that_fits_decides() -> None:
    patterns = {"train": ["a*"], "test": ["*"]}
    assert [splits.by_pattern(patterns, text) for text in ("ab", "Ab")] == ["train", "test"]
    assert splits.by_pattern({"train": ["a*"]}, "b") is None


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(splits).failed == 0
