"""Mixed batches: so many windows of each set, as if each were drawn by itself."""

import pickle

import numpy as np
import pytest

from affcache.errors import CacheError
from affcache.mixing import MixedWindows
from affcache.windows import RandomWindows, Sequence


def some(name: str, frames: int, value: float, width: int = 3) -> Sequence:
    """A video whose features all are `value`."""
    nothing = np.full((frames, 2), np.nan, np.float32)
    there = np.ones(frames, bool)
    features = np.full((frames, width), value, np.float16)
    return Sequence(
        id=name,
        subject=name,
        features=features,
        pseudo=nothing,
        labels=nothing,
        counted=there,
        valid=there,
        time=np.arange(frames) / 25,
    )


SETS = [[some("a", 30, 1), some("b", 40, 2)], [some("c", 25, 3)], [some("d", 9, 4)]]


def test_every_set_gives_its_share_in_its_order() -> None:
    mixed = MixedWindows(SETS, sizes=(5, 3, 2), length=7)
    batch = mixed.batch(0)
    assert batch.features.shape == (10, 7, 3)
    assert {*batch.features[:5].flat} == {1, 2}
    assert {*batch.features[5:8].flat} == {3}
    assert {*batch.features[8:].flat} == {4}
    assert mixed.unused == []


def test_the_first_sets_windows_are_those_that_it_has_alone() -> None:
    mixed = MixedWindows(SETS, sizes=(5, 3, 2), length=7, seed=11)
    alone = RandomWindows(SETS[0], shortest=7, longest=7, batch=5, seed=11)
    for k in (0, 1, 1000):
        assert np.array_equal(mixed.batch(k).features[:5], alone.batch(k).features)


def test_sets_draw_apart_from_each_other() -> None:
    mixed = MixedWindows([SETS[0], SETS[0]], sizes=(8, 8), length=7)
    picks = mixed.picks(3)
    assert picks.starts[:8] != picks.starts[8:]


def test_it_is_the_same_in_another_process() -> None:
    mixed = MixedWindows(SETS, sizes=(5, 3, 2), length=7)
    sent = pickle.loads(pickle.dumps(mixed))
    assert sent.picks(4) == mixed.picks(4) != mixed.picks(5)
    assert np.array_equal(sent.batch(4).features, mixed.batch(4).features)


def test_single_frames_can_be_drawn_from_videos_of_one_frame() -> None:
    images = [some(f"i{k}", 1, k) for k in range(20)]
    batch = MixedWindows([images], sizes=(20,), length=1).batch(0)
    assert sorted(batch.features[:, 0, 0].tolist()) == list(range(20))


def test_a_set_without_windows_is_an_error() -> None:
    with pytest.raises(CacheError, match="no training window: of 1 videos"):
        MixedWindows(SETS, sizes=(5, 3, 2), length=20)


def test_sets_must_be_as_wide_as_each_other() -> None:
    with pytest.raises(CacheError, match="video a has 3 features a frame, w has 4"):
        MixedWindows([SETS[0], [some("w", 30, 1, width=4)]], sizes=(1, 1), length=7)


def test_every_set_needs_a_size() -> None:
    with pytest.raises(ValueError, match="3 sets, but 2 sizes"):
        MixedWindows(SETS, sizes=(5, 3), length=7)
