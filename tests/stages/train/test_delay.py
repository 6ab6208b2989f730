"""The lag of one series behind another: known shifts are found."""

import numpy as np
import pytest

from affcache.windows import Sequence
from stages.train.delay import COARSE, correlations, lag_rows, output_lag
from stages.train.heads import Sizes


def course(frames: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=frames + 400)
    return np.convolve(noise, np.hanning(80), mode="same")[200:-200]


@pytest.mark.parametrize("shift", [-60, -3, 0, 17, 90])
def test_a_shift_is_found_with_its_sign(shift: int) -> None:
    whole = [course(1000, seed) for seed in range(3)]
    earlier, later = [w[100:-100] for w in whole], [w[100 - shift : 900 - shift] for w in whole]
    assert output_lag(earlier, later).frames == pytest.approx(shift, abs=0.01)
    assert output_lag(earlier, later).correlation == pytest.approx(1, abs=1e-3)


def test_fractions_of_a_frame_are_told() -> None:
    t = np.arange(600)
    found = output_lag([np.sin(t / 40)], [np.sin((t - 12.4) / 40)], reach=40)
    assert found.frames == pytest.approx(12.4, abs=0.05)


def test_a_correlation_is_numpys_over_the_pairs_that_are_both_known() -> None:
    x, y = course(300), course(300, 1)
    x[20:50], y[100:160] = np.nan, np.nan
    found = correlations([x], [y], np.array([-7, 0, 5]))
    for lag, value in zip((-7, 0, 5), found, strict=True):
        pairs = [(x[t - lag], y[t]) for t in range(300) if 0 <= t - lag < 300]
        known = np.array([pair for pair in pairs if np.isfinite(pair).all()])
        assert value == pytest.approx(np.corrcoef(known.T)[0, 1])


def test_a_series_that_does_not_vary_has_no_lag() -> None:
    assert np.isnan(output_lag([np.zeros(50)], [course(50)], reach=10)).all()


def spoken(labels: np.ndarray, valid: np.ndarray) -> Sequence:
    """A sequence of which only labels and faces matter."""
    return Sequence(
        id="a",
        subject="a",
        features=np.zeros((len(labels), 1), np.float16),
        pseudo=labels,
        labels=labels,
        counted=valid,
        valid=valid,
        time=np.arange(len(labels)) / 25,
    )


def test_short_sequences_are_not_asked_for_lags_of_which_they_show_little() -> None:
    sizes = Sizes({"features": 1}, {"va": ("valence", "arousal")}, 25.0)
    drifting = [np.stack([course(150, seed), course(150, seed + 9)], axis=1) for seed in range(4)]
    said = [rows[::-1].copy() for rows in drifting]
    everywhere = np.ones(150, bool)
    sequences = [spoken(rows.astype(np.float32), everywhere) for rows in drifting]
    for row in lag_rows(sizes, sequences, said):
        assert abs(row["lag_frames"]) <= 30 + COARSE
    few = [spoken(rows[:20].astype(np.float32), everywhere[:20]) for rows in drifting]
    assert lag_rows(sizes, few, [rows[:20] for rows in said]) == []


def test_rows_are_of_the_inner_frames_with_a_face_and_a_label() -> None:
    whole = np.stack([course(800), course(800, 1)], axis=1)
    labels, said = whole[20:620].astype(np.float32), whole[8:608].copy()
    said[:60] = 0.5  # what a delayed output says before it has anything to say
    valid = np.arange(600) % 7 > 0
    said[~valid] = 99
    labels[300:320] = np.nan
    sequence = spoken(labels, valid)
    sizes = Sizes({"features": 1}, {"va": ("valence", "arousal")}, 25.0)
    rows = lag_rows(sizes, [sequence], [said])
    assert [row["target"] for row in rows] == ["valence", "arousal"]
    for row in rows:
        assert row["lag_frames"] == pytest.approx(12, abs=0.05)
        assert row["lag_seconds"] == pytest.approx(0.48, abs=0.002)
