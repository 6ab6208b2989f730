"""Features hide nothing that was shown; the classifier W is the plain one that it says it is."""

import numpy as np
import pytest

from stages.simulate import observation
from stages.simulate.observation import classified, features, network
from stages.simulate.process import draw
from stages.simulate.settings import Backbone, CacheSettings, Process


def test_ridge_regression_finds_what_was_shown_in_the_features_of_strangers() -> None:
    settings = CacheSettings(frames=60)
    drawn, weights = draw(settings, range(120)), network(settings.backbone)
    rows = np.stack(
        [features(settings, weights, i, drawn.shown[i], drawn.nuisance[i]) for i in range(120)]
    )
    x = np.concatenate([rows, np.ones((120, 60, 1))], axis=2)
    y = np.concatenate([drawn.shown, drawn.nuisance[..., :1]], axis=2)
    known, new = slice(0, 80), slice(80, 120)
    flat = x[known].reshape(-1, 513)
    fit = np.linalg.solve(flat.T @ flat + 10 * np.eye(513), flat.T @ y[known].reshape(-1, 3))
    left = ((x[new] @ fit - y[new]) ** 2).mean(axis=(0, 1)) / y[new].var(axis=(0, 1))
    assert left.max() < 0.06  # valence, arousal, and how noisy the frame is


def test_the_network_belongs_to_the_backbone_and_the_person_to_the_video() -> None:
    assert all(
        np.array_equal(a, b)
        for a, b in zip(network(Backbone()), network(Backbone(noise=9.0)), strict=True)
    )
    assert not np.array_equal(network(Backbone()).out, network(Backbone(seed=1)).out)
    settings = CacheSettings(videos=4, subjects=2, frames=1, backbone=Backbone(noise=0.0))
    blank = np.zeros((1, 2)), np.zeros((1, 3))
    first, second, third = (
        features(settings, network(settings.backbone), video, *blank) for video in (0, 1, 2)
    )
    np.testing.assert_array_equal(first, third)
    assert not np.array_equal(first, second)


def test_pseudo_labels_have_the_spread_of_labels_and_the_concordance_that_follows() -> None:
    settings = CacheSettings(frames=300)
    drawn = draw(settings, range(300))
    said = classified(settings.process, drawn.shown)
    assert said.std() == pytest.approx(drawn.labels.std(), rel=0.05)
    expected = np.sqrt(1 / (1 + 0.4 + 1.4))
    found = np.corrcoef(said.ravel(), drawn.labels.ravel())[0, 1]
    assert found == pytest.approx(expected, abs=0.03)


def test_pseudo_labels_stay_in_range() -> None:
    assert classified(Process(), np.array([1e3, -1e3])).tolist() == [1, -1]
    assert observation.INPUTS == 9
