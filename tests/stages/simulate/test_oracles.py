"""Every estimator against the joint Gaussian of exactly what it may see."""

import numpy as np
import pytest

from affcache.windows import consecutive
from stages.simulate import oracles
from stages.simulate.process import double_pole, draw
from stages.simulate.settings import CacheSettings, Process
from tests.stages.simulate.joint import given

FRAMES, WINDOW = 13, 5
PROCESS = Process(pole_frames=5.0, noise_frames=4.0)


@pytest.mark.parametrize(("lag", "jitter"), [(0, 0), (3, 0), (-2, 0), (1, 2), (20, 0)])
@pytest.mark.parametrize("changes", [0, 2])
def test_estimators_are_the_joint_gaussian_given_what_they_see(
    monkeypatch: pytest.MonkeyPatch, lag: int, jitter: int, changes: int
) -> None:
    monkeypatch.setattr(oracles, "WINDOW", WINDOW)
    settings = CacheSettings(
        videos=3,
        frames=FRAMES,
        lag=lag,
        lag_jitter=jitter,
        missing=0.3,
        changes=changes,
        process=PROCESS,
        seed=5,
    )
    drawn = draw(settings, range(3))
    found = oracles.beliefs(settings, drawn)
    evidence, pad = oracles.told(settings, drawn), settings.reach
    model, rows = double_pole(PROCESS.pole_frames), np.arange(FRAMES + 2 * pad) - pad
    spans = consecutive(FRAMES, WINDOW)
    for i in range(3):
        for t in range(FRAMES):
            (span,) = (s for s in spans if s.keep <= t < s.stop)
            about = t - int(drawn.lag[i])
            sees = {
                "frame": (rows == t, about),
                "window": ((rows >= span.start) & (rows < span.stop), about),
                "filter": (rows <= t, about),
                "shifted filter": (rows <= about, about),
                "unshifted filter": (rows <= t, t),
                "smoother": (rows < FRAMES, about),
            }
            for name, belief in found.items():
                seen, target = sees[name]
                mean, variance = given(evidence, i, seen, target + pad, model, 0.4)
                scale, annotator = PROCESS.label_scale, PROCESS.annotator_variance
                np.testing.assert_allclose(
                    belief.mean[i, t], scale * mean, atol=1e-9, err_msg=f"{name} {i} {t}"
                )
                std = scale * np.sqrt(variance + annotator)
                np.testing.assert_allclose(belief.std[i, t], std, atol=1e-9)


def test_without_a_lag_there_is_one_causal_filter() -> None:
    settings = CacheSettings(videos=1, frames=5)
    names = list(oracles.beliefs(settings, draw(settings, [0])))
    assert names == ["frame", "window", "filter", "smoother"]


def test_intervals_of_80_percent_hold_80_percent_and_more_context_is_better() -> None:
    settings = CacheSettings(frames=300, lag=10)
    drawn = draw(settings, range(200))
    errors = []
    found = oracles.beliefs(settings, drawn)
    del found["unshifted filter"]
    for name, belief in found.items():
        away = np.abs(drawn.labels - belief.mean)
        inside = (away < 1.2816 * belief.std[..., None]).mean()
        assert 0.77 < inside < 0.83, name
        errors.append((away**2).mean())
    frame, window, causal, shifted, smoother = errors
    assert frame > window > causal > smoother
    assert shifted > causal
