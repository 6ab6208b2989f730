"""Drawn sequences have the moments that the settings promise, and are the same in any company."""

import dataclasses

import numpy as np
import pytest

from affcache.errors import SimulationError
from stages.simulate.process import change_frames, double_pole, draw, label_rows
from stages.simulate.settings import Backbone, CacheSettings, Process

EXACT = Process(annotator_variance=0.0)


def test_latents_have_unit_variance_and_the_double_poles_correlation() -> None:
    settings = CacheSettings(frames=400, changes=3, process=Process(pole_frames=10.0))
    drawn = draw(settings, range(400))
    model = double_pole(10.0)
    z = drawn.latent
    assert z.var() == pytest.approx(1, abs=0.03)
    assert z[:, 0].var() == pytest.approx(1, abs=0.12)
    assert np.mean(z[..., 0] * z[..., 1]) == pytest.approx(0, abs=0.03)
    still = draw(dataclasses.replace(settings, changes=0), range(400)).latent
    for lag in (1, 7, 25):
        together = np.mean(still[:, lag:] * still[:, :-lag])
        assert together == pytest.approx(model.correlation(lag), abs=0.03)


def test_the_latents_start_afresh_where_they_change() -> None:
    settings = CacheSettings(frames=100, changes=2, lag=7)
    drawn = draw(settings, range(500))
    assert (drawn.fresh.sum(axis=1) == 2).all()
    at = np.argwhere(drawn.fresh)
    now, before = (drawn.latent[at[:, 0], at[:, 1] - k] for k in (0, 1))
    assert np.corrcoef(now.ravel(), before.ravel())[0, 1] == pytest.approx(0, abs=0.06)
    after = drawn.latent[at[:, 0], at[:, 1] + 1]
    assert np.corrcoef(now.ravel(), after.ravel())[0, 1] > 0.99


def test_changes_lie_in_the_middle_half_of_equal_stretches() -> None:
    found = change_frames(np.random.default_rng(0), 400, 4)
    assert ((found // 100) == np.arange(4)).all()
    assert (np.abs(found % 100 - 50) <= 25).all()
    assert len(change_frames(np.random.default_rng(0), 400, 0)) == 0


@pytest.mark.parametrize("lag", [0, 12, -9])
def test_labels_are_the_latents_of_lag_frames_ago(lag: int) -> None:
    settings = CacheSettings(frames=60, lag=lag, lag_jitter=3, process=EXACT)
    drawn = draw(settings, range(20))
    assert set(drawn.lag) <= set(range(lag - 3, lag + 4))
    assert len(set(drawn.lag)) > 3
    for i, own in enumerate(drawn.lag):
        rows = np.arange(60) - own + settings.reach
        expected = np.clip(0.3 * drawn.latent[i, rows], -1, 1)
        np.testing.assert_array_equal(drawn.labels[i], expected)
    np.testing.assert_array_equal(
        label_rows(drawn.lag, 60, settings.reach)[:, 0], settings.reach - drawn.lag
    )


def test_a_frame_shows_latent_and_offset_under_noise_of_the_promised_strength() -> None:
    settings = CacheSettings(frames=500)
    drawn = draw(settings, range(300))
    error = drawn.shown - drawn.latent
    offset = error.mean(axis=1)
    assert offset.var() == pytest.approx(0.4, abs=0.08)
    assert drawn.noise.mean() == pytest.approx(1.4, abs=0.05)
    assert np.log(drawn.noise).std() == pytest.approx(0.7, abs=0.02)
    white = (error - offset[:, None]) / np.sqrt(drawn.noise)[..., None]
    assert white.var() == pytest.approx(1, abs=0.02)
    assert np.mean(white[:, 1:] * white[:, :-1]) == pytest.approx(0, abs=0.02)
    log = np.log(drawn.noise) - np.log(drawn.noise).mean()
    assert np.mean(log[:, 50:] * log[:, :-50]) / log.var() == pytest.approx(np.exp(-1), abs=0.05)


def test_faces_are_missing_in_runs_and_as_often_as_asked() -> None:
    valid = draw(CacheSettings(frames=500, missing=0.2), range(100)).valid
    assert (~valid).mean() == pytest.approx(0.2, abs=0.02)
    ends = (~valid[:, :-1] & valid[:, 1:]).sum()
    assert (~valid).sum() / ends == pytest.approx(12, abs=2)
    assert draw(CacheSettings(frames=50), range(5)).valid.all()


def test_a_video_is_the_same_in_any_company() -> None:
    settings = CacheSettings(frames=30, lag=4, lag_jitter=2, missing=0.2, changes=1)
    alone, among = draw(settings, [7]), draw(settings, range(10))
    for one, many in zip(alone, among, strict=True):
        np.testing.assert_array_equal(one[0], many[7])
    other = draw(dataclasses.replace(settings, seed=1), [7])
    assert not np.array_equal(alone.latent, other.latent)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"videos": 0}, "videos is 0, expected from 1"),
        ({"frames": 2.5}, "frames is 2.5, expected a whole number"),
        ({"missing": 1.0}, "missing is 1, expected from 0 to 0.9"),
        ({"videos": 3, "subjects": 4}, "4 subjects for 3 videos"),
        ({"videos": 3, "folds": 4}, "4 folds of 3 subjects"),
        ({"splits": (1.0, 1.0)}, "ratio of train, validation, test"),
        ({"splits": (1.0, -1.0, 1.0)}, "ratio of train, validation, test"),
        ({"tasks": ("va", "mood")}, "'mood' is no task; there are va, expr, au, au_intensity"),
        ({"tasks": ("va", "va")}, "name each task once"),
        ({"tasks": ()}, "name each task once"),
        ({"drop": {"va": 1.5}}, "a share from 0 to 1"),
        ({"drop": {"expr": 0.5}}, "give a task of va"),
        ({"streams": {"valid": 3}}, "stream valid=3: give a name that no other array has"),
        ({"streams": {"a/b": 3}}, "stream a/b=3"),
        ({"streams": {"low": 0}}, "and a width"),
        ({"frames": 10, "changes": 6}, "6 changes in 10 frames"),
    ],
)
def test_settings_that_cannot_be_say_what_can(values: dict[str, object], words: str) -> None:
    with pytest.raises(SimulationError, match=words):
        CacheSettings(**values)  # type: ignore[arg-type]


def test_the_parts_of_the_settings_check_themselves_where_they_are_used() -> None:
    with pytest.raises(SimulationError, match="noise_variance is 0, expected from 1e-06"):
        CacheSettings(process=Process(noise_variance=0.0))
    with pytest.raises(SimulationError, match="width is 0, expected from 1 to 65536"):
        CacheSettings(backbone=Backbone(width=0))
