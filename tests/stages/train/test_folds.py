"""Folds by person: a partition, balanced, and the data set's own where it has some."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affcache.errors import CacheError
from affcache.store import Cache, unsealed, write_labels
from stages.train.folds import annotated_folds, subject_folds
from tests.caches import make_cache

PEOPLE = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 500)), min_size=2, max_size=40)


@given(PEOPLE, st.integers(2, 5))
def test_every_person_is_left_out_once_and_is_never_on_both_sides(
    drawn: list[tuple[int, int]], count: int
) -> None:
    subjects = {f"v{i}": f"p{person}" for i, (person, _) in enumerate(drawn)}
    frames = {f"v{i}": n for i, (_, n) in enumerate(drawn)}
    if len(set(subjects.values())) < count:
        with pytest.raises(CacheError, match="choose from 2 to as many as there are people"):
            subject_folds(subjects, frames, count)
        return
    folds = subject_folds(subjects, frames, count)
    assert [fold.name for fold in folds] == [f"fold-{k + 1}" for k in range(count)]
    assert sorted(v for fold in folds for v in fold.validation) == sorted(subjects)
    for fold in folds:
        assert fold.training | fold.validation == set(subjects)
        sides = [{subjects[v] for v in side} for side in (fold.training, fold.validation)]
        assert not sides[0] & sides[1]


def test_folds_are_about_equal_in_labelled_frames() -> None:
    subjects = {f"v{i}": f"p{i}" for i in range(40)}
    frames = {f"v{i}": 100 + 37 * i % 90 for i in range(40)}
    totals = [
        sum(frames[v] for v in fold.validation) for fold in subject_folds(subjects, frames, 5)
    ]
    assert max(totals) - min(totals) < 100


def test_one_fold_is_none() -> None:
    with pytest.raises(CacheError, match="1 folds of 2 people: choose from 2"):
        subject_folds({"v": "ann", "w": "bob"}, {"v": 1, "w": 1}, 1)


def test_folds_of_the_data_set_are_used_where_they_are_as_many(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "c.zarr", videos=6, subjects=3, frames=20, width=4, gaps=False)
    assert annotated_folds(Cache(cache).videos(), 3) is None
    with unsealed(cache):
        for number, video in enumerate(Cache(cache).videos()):
            write_labels(
                cache,
                video.id,
                {"va": video.label("va")},
                {**video.label_attributes, "folds": {"va": 2 - number % 3}},
            )
    videos = Cache(cache).videos()
    named = annotated_folds(videos, 3)
    assert named == {f"v{i:02d}": 2 - i % 3 for i in range(6)}
    assert annotated_folds(videos, 5) is None
    people = {v.id: v.label_attributes["subject"] for v in videos}
    folds = subject_folds(people, dict.fromkeys(people, 20), 3, named)
    assert folds[0].validation == {"v02", "v05"}
    with pytest.raises(CacheError, match="the annotated folds split p00: one fold a person"):
        subject_folds(people, dict.fromkeys(people, 20), 3, {**named, "v03": 1})
