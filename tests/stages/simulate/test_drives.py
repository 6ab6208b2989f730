"""Known processes against their textbook variance, correlation and lag."""

import numpy as np
import pytest

from stages.simulate.drives import (
    OPENING_LIMIT,
    SHOWN_LIMIT,
    Drives,
    Habits,
    blinks,
    covers,
    draw,
    events,
    impulse,
    slow_noise,
)

FPS = 25.0


@pytest.fixture(scope="module")
def long_clip() -> Drives:
    return draw(np.random.default_rng(3), 40_000, FPS, Habits(offset_sd=0.0))


def test_the_impulse_is_that_of_two_one_pole_filters_in_a_row() -> None:
    pole = np.exp(-1 / (FPS * 0.4))
    state, expected = np.zeros(2), []
    for k in range(len(impulse(FPS, 0.4))):
        state[0] = pole * state[0] + (k == 0)
        state[1] = pole * state[1] + state[0]
        expected.append(state[1])
    found = impulse(FPS, 0.4)
    np.testing.assert_allclose(found, np.array(expected) / np.linalg.norm(expected), rtol=1e-9)


@pytest.mark.parametrize("seconds", [0.05, 0.12, 1.0])
def test_slow_noise_has_unit_variance_and_the_correlation_of_a_double_pole(seconds: float) -> None:
    noise = slow_noise(np.random.default_rng(0), 200_000, FPS, seconds, 1)[:, 0]
    pole = np.exp(-1 / (FPS * seconds))
    assert np.var(noise) == pytest.approx(1, abs=0.06)
    for lag in (1, round(FPS * seconds), round(3 * FPS * seconds)):
        expected = pole**lag * (1 + lag * (1 - pole**2) / (1 + pole**2))
        assert np.mean(noise[lag:] * noise[:-lag]) == pytest.approx(expected, abs=0.06)


def test_slow_noise_has_the_spectrum_of_a_double_pole() -> None:
    pole, length = np.exp(-1 / (FPS * 0.2)), 256
    noise = slow_noise(np.random.default_rng(1), 400 * length, FPS, 0.2, 1)[:, 0]
    power = np.mean(np.abs(np.fft.rfft(noise.reshape(400, length) * np.hanning(length))) ** 2, 0)
    angle = 2 * np.pi * np.arange(length // 2 + 1) / length
    expected = 1 / np.abs(1 - pole * np.exp(-1j * angle)) ** 4
    band = slice(3, 50)
    ratio = power[band] / expected[band]
    assert np.std(np.log(ratio)) < 0.12


def test_slow_noise_is_stationary_from_its_first_frame_and_independent_by_column() -> None:
    rows = np.stack(
        [slow_noise(np.random.default_rng(k), 60, FPS, 1.0, 2)[[0, -1]] for k in range(2_000)]
    )
    assert np.var(rows[:, 0]) == pytest.approx(1, abs=0.06)
    assert np.var(rows[:, 1]) == pytest.approx(1, abs=0.06)
    assert np.mean(rows[..., 0] * rows[..., 1]) == pytest.approx(0, abs=0.06)


def test_labels_are_the_truth_of_the_annotators_lag_ago(long_clip: Drives) -> None:
    lag = round(Habits().lag_seconds * FPS)
    assert lag == 10
    np.testing.assert_array_equal(long_clip.labels[lag:], long_clip.truth[:-lag])


def test_affect_is_a_squashed_unit_process(long_clip: Drives) -> None:
    inner = np.arctanh(long_clip.truth) / Habits().affect_gain
    assert np.abs(long_clip.truth).max() < 1
    assert np.std(inner) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(inner.T)[0, 1] == pytest.approx(0, abs=0.15)


def test_an_offset_belongs_to_a_clip() -> None:
    habits = Habits(affect_gain=1e-9, offset_sd=0.5)
    clips = [draw(np.random.default_rng(k), 5, FPS, habits).truth for k in range(400)]
    assert all(np.ptp(clip, axis=0).max() < 1e-6 for clip in clips)
    assert np.std(np.arctanh([clip[0] for clip in clips])) == pytest.approx(0.5, abs=0.05)


def test_the_face_shows_the_truth_and_a_jitter_that_no_label_follows(long_clip: Drives) -> None:
    inside = (np.abs(long_clip.truth) < 0.3).all(axis=1)
    jitter = (long_clip.shown - long_clip.truth)[inside]
    assert np.std(jitter) == pytest.approx(Habits().jitter_sd, abs=0.04)
    assert np.abs(long_clip.shown).max() <= SHOWN_LIMIT
    calm = draw(np.random.default_rng(3), 300, FPS, Habits(jitter_sd=0.0))
    jittery = draw(np.random.default_rng(3), 300, FPS, Habits(jitter_sd=0.9))
    np.testing.assert_array_equal(calm.shown, calm.truth)
    np.testing.assert_array_equal(calm.labels, jittery.labels)


def test_the_mouth_opens_with_arousal_and_talk_within_its_range(long_clip: Drives) -> None:
    assert long_clip.opening.min() >= 0
    assert long_clip.opening.max() <= OPENING_LIMIT
    silent = draw(np.random.default_rng(0), 500, FPS, Habits(talk=0.0))
    expected = np.clip(0.4 * silent.shown[:, 1] + 0.4, 0, OPENING_LIMIT)
    np.testing.assert_allclose(silent.opening, expected)


def test_head_and_light_move_as_much_as_their_habits_say(long_clip: Drives) -> None:
    habits = Habits()
    assert np.std(long_clip.shift) == pytest.approx(habits.shift_sd, rel=0.1)
    assert np.std(long_clip.roll) == pytest.approx(habits.roll_sd, rel=0.1)
    assert np.std(np.log(long_clip.zoom)) == pytest.approx(habits.zoom_sd, rel=0.1)
    assert np.std(np.log(long_clip.gain)) == pytest.approx(habits.gain_sd, rel=0.1)
    assert np.std(long_clip.gradient) == pytest.approx(habits.gradient_sd, rel=0.1)


def test_events_come_at_their_rate() -> None:
    starts = events(np.random.default_rng(0), 100_000, 0.02)
    assert len(starts) == pytest.approx(2_000, rel=0.1)


def test_a_blink_rises_to_shut_and_falls_and_two_that_overlap_do_not_add() -> None:
    closure = blinks(np.array([2]), 12, 5)
    assert closure[4] == pytest.approx(1)
    assert (closure[:2] == 0).all()
    assert (closure[7:] == 0).all()
    np.testing.assert_allclose(closure[2:7], closure[2:7][::-1])
    assert blinks(np.array([2, 3]), 12, 5).max() <= 1
    assert blinks(np.array([11]), 12, 5)[11] > 0


def test_a_cover_lasts_between_its_shortest_and_longest() -> None:
    lengths = {
        int(covers(np.random.default_rng(k), np.array([5]), 40, (3, 9)).sum()) for k in range(200)
    }
    assert lengths == set(range(3, 10))


def test_the_same_seed_draws_the_same_clip_and_another_seed_another() -> None:
    one, same, other = (draw(np.random.default_rng(k), 30, FPS, Habits()) for k in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(one.labels, other.labels)


def test_every_drive_has_one_row_per_frame_even_for_a_single_frame() -> None:
    clip = draw(np.random.default_rng(0), 1, FPS, Habits())
    assert {len(np.atleast_1d(rows)) for rows in clip} == {1}
    assert all(np.isfinite(rows).all() for rows in clip)
