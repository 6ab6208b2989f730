"""Which face is followed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.extract.track import FACES, PATIENCE, Track, iou, step

SMALL_LEFT = [10, 10, 30, 30]
LARGE_RIGHT = [60, 10, 95, 45]


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_the_largest_face_is_taken_when_nothing_is_followed() -> None:
    assert step(Track(), boxes(SMALL_LEFT, LARGE_RIGHT), "largest", 100)[1] == 1


def test_a_followed_face_is_kept_while_another_is_only_somewhat_larger() -> None:
    track = Track(boxes([61, 10, 96, 45])[0])
    rival = [0, 0, 42, 42]
    assert step(track, boxes(rival, LARGE_RIGHT), "largest", 100)[1] == 1


def test_a_much_larger_face_takes_over() -> None:
    track = Track(boxes(SMALL_LEFT)[0])
    assert step(track, boxes(SMALL_LEFT, LARGE_RIGHT), "largest", 100)[1] == 1


def test_left_and_right_are_the_outermost_faces_as_seen_in_the_image() -> None:
    found = boxes(LARGE_RIGHT, SMALL_LEFT)
    assert step(Track(), found, "left", 100)[1] == 1
    assert step(Track(), found, "right", 100)[1] == 0


def test_tiny_faces_in_the_background_are_not_the_left_one() -> None:
    assert step(Track(), boxes([0, 0, 5, 5], SMALL_LEFT, LARGE_RIGHT), "left", 100)[1] == 1


def test_a_lone_face_on_the_other_side_is_the_other_person() -> None:
    assert step(Track(), boxes(LARGE_RIGHT), "left", 100)[1] is None
    assert step(Track(), boxes(LARGE_RIGHT), "right", 100)[1] == 0


def test_a_lone_face_that_goes_on_with_the_track_is_followed_across_the_middle() -> None:
    track = Track(boxes([48, 10, 78, 40])[0])
    assert step(track, boxes([52, 10, 82, 40]), "left", 100)[1] == 0


def test_a_track_survives_a_short_gap_and_not_a_long_one() -> None:
    track = Track(boxes(SMALL_LEFT)[0])
    for _ in range(PATIENCE):
        track, chosen = step(track, boxes(), "largest", 100)
        assert chosen is None
    assert track.box is not None
    assert step(track, boxes(), "largest", 100)[0] == Track()


def test_an_unknown_face_is_refused() -> None:
    with pytest.raises(ValueError, match="is none of largest, left, right"):
        step(Track(), boxes(SMALL_LEFT), "middle", 100)


def test_overlap_of_known_rectangles() -> None:
    found = iou(
        boxes([0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [2, 2, 2, 2]), np.array([0, 0, 2, 2])
    )
    assert np.allclose(found, [1, 1 / 3, 0, 0])


rectangle = st.tuples(*[st.floats(0, 100, width=32)] * 4).map(
    lambda r: [min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]) + 1, max(r[1], r[3]) + 1]
)


@given(st.lists(rectangle, max_size=5), st.sampled_from(FACES), st.none() | rectangle)
def test_a_choice_is_one_of_the_boxes_and_becomes_the_track(
    rows: list[list[float]], face: str, before: list[float] | None
) -> None:
    track = Track() if before is None else Track(np.array(before, np.float32))
    found = boxes(*rows)
    after, chosen = step(track, found, face, 100)
    if face == "largest":
        assert (chosen is None) == (not rows)
    if chosen is not None:
        assert 0 <= chosen < len(rows)
        assert after.box is not None
        assert (after.box == found[chosen]).all()
        assert after.unseen == 0
