"""Post-processing: steps against other libraries, kept only where they help, frozen afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter, uniform_filter1d

from affcache.metrics import ccc
from stages.train.chains import STEPS, apply_chain, apply_step, fit, over_windows, shifted
from stages.train.utterances import estimate, fit_smoothing, label, smoothed
from tests.stages.train.conftest import Outcome

FPS = 25.0


def walk(frames: int = 600, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return uniform_filter1d(draw.normal(size=frames), 60) * 3


def against(truth: np.ndarray) -> Callable[[object], float]:
    """CCC of predictions (one video) with the truth, where there are predictions."""

    def score(said: object) -> float:
        (rows,) = said  # type: ignore[misc]
        known = np.isfinite(rows)
        return ccc(truth[known], rows[known])

    return score


@pytest.mark.parametrize("width", [3, 5, 25])
def test_filters_are_scipys_away_from_the_ends(width: int) -> None:
    rows, inside = walk(200), slice(width, -width)
    np.testing.assert_allclose(
        over_windows(rows, width, np.nanmedian)[inside], median_filter(rows, width)[inside]
    )
    np.testing.assert_allclose(
        over_windows(rows, width, np.nanmean)[inside], uniform_filter1d(rows, width)[inside]
    )


def test_a_chain_finds_what_was_done_to_the_truth() -> None:
    time = np.arange(600)
    truth = np.sin(time / 50) + 0.5 * np.sin(time / 30)
    spoilt = 0.5 * shifted(truth, 10) + 0.3
    steps = {step["step"]: step for step in fit([spoilt], [truth], against(truth), FPS)}
    assert {*steps} >= {"centre", "scale", "shift"}
    assert steps["scale"]["value"] == pytest.approx(2, rel=0.05)
    assert steps["shift"]["value"] == -10
    chain = [{**step, "column": 0} for step in steps.values()]
    assert ccc(truth, apply_chain(chain, spoilt[:, None])[:, 0]) > 0.99
    assert all(step["after"] > step["before"] for step in steps.values())


def test_noise_is_filtered_and_a_perfect_prediction_left_alone() -> None:
    truth = walk()
    noisy = truth + np.random.default_rng(1).normal(0, 0.5, len(truth))
    kept = [step["step"] for step in fit([noisy], [truth], against(truth), FPS)]
    assert "median" in kept or "smooth" in kept
    assert fit([truth], [truth], against(truth), FPS) == []


def test_steps_come_in_their_order_and_never_make_it_worse() -> None:
    draw = np.random.default_rng(2)
    for seed in range(5):
        truth = walk(seed=seed)
        said = draw.normal(size=len(truth)) * 0.3 + draw.normal() * truth + draw.normal()
        chain = fit([said], [truth], against(truth), FPS)
        order = [STEPS.index(step["step"]) for step in chain]
        assert order == sorted(order)
        scores = [against(truth)([said])]
        for step in chain:
            said = apply_step(step, said)
            scores.append(against(truth)([said]))
        assert scores == sorted(scores)


def test_frames_without_a_prediction_stay_without_and_disturb_nobody() -> None:
    rows = walk(100)
    rows[20:30] = np.nan
    for step in (
        {"step": "median", "value": 5},
        {"step": "smooth", "value": 5},
        {"step": "centre", "value": 1.0},
        {"step": "scale", "value": 2.0, "about": 0.1},
        {"step": "shift", "value": -7},
    ):
        done = apply_step(step, rows)
        assert np.array_equal(np.isnan(done), np.isnan(rows)), step
    nothing = np.full(4, np.nan)
    assert np.isnan(apply_step({"step": "shift", "value": 2}, nothing)).all()
    assert np.isnan(apply_step({"step": "median", "value": 3}, nothing)).all()


def test_a_constant_prediction_is_centred_and_not_scaled() -> None:
    truth, flat = walk(), np.zeros(600)
    assert all(s["step"] != "scale" for s in fit([flat], [truth], against(truth), FPS))


def test_an_unknown_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="step 'polish'"):
        apply_step({"step": "polish", "value": 1}, np.zeros(3))


def test_an_utterance_is_the_mean_of_its_sequences_medians() -> None:
    rows = np.array([1.0, 2.0, 9.0, np.nan, 5.0, 4.0, np.nan, np.nan, np.nan, 7.0])
    assert estimate(rows, 3) == pytest.approx((2 + 4.5 + 7) / 3)
    assert np.isnan(estimate(np.full(3, np.nan), 2))
    assert label(np.array([0.5, np.nan, 0.5])) == 0.5
    assert np.isnan(label(np.full(3, np.nan)))


def test_utterances_are_smoothed_person_by_person() -> None:
    values = np.array([0.0, 10.0, 3.0, 20.0, 6.0])
    people = ["a", "b", "a", "b", "a"]
    np.testing.assert_allclose(smoothed(values, people, 3), [1.5, 15, 3, 15, 4.5])
    values[2] = np.nan
    np.testing.assert_allclose(smoothed(values, people, 3), [0, 15, np.nan, 15, 6])


def test_smoothing_over_utterances_is_kept_only_if_it_helps() -> None:
    draw = np.random.default_rng(0)
    truth = np.repeat(draw.normal(size=20), 10)
    people = [f"p{k // 10}" for k in range(200)]
    noisy = truth + draw.normal(0, 1, 200)
    step = fit_smoothing(noisy, people, lambda v: ccc(truth, v))
    assert step is not None
    assert step["value"] in (3, 5, 7)
    assert step["after"] > step["before"]
    assert fit_smoothing(truth, [f"p{k}" for k in range(200)], lambda v: ccc(truth, v)) is None


def test_the_command_freezes_a_chain_and_evaluate_shows_it(
    trained: Path, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache("postprocess", trained, "--json", "--out", tmp_path / "out")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document["split"] == "test"
    stored = json.loads((trained / "postprocess.json").read_text())
    assert stored["steps"] == document["steps"] != []
    assert {step["target"] for step in stored["steps"]} <= {"valence", "arousal"}
    assert len([*(tmp_path / "out").glob("*.csv")]) == 16
    on_validation = affcache("postprocess", trained, "--json", "--split", "validation")
    assert "the split that the chain was fitted on" not in affcache("postprocess", trained).out
    said = affcache("postprocess", trained, "--split", "validation").out
    assert "that is the split that the chain was fitted on: what it gains there flatters" in said
    for row in json.loads(on_validation.out)["scores"]:
        assert row["CCC post-processed"] >= row["CCC raw"]
    evaluated = json.loads(affcache("evaluate", trained, "--json").out)
    rows = {
        row["predictor"]: row
        for row in evaluated["scores"]
        if row["over"] == "frames" and "matched" not in row["predictor"]
    }
    scored = {row[""]: row["CCC post-processed"] for row in document["scores"]}
    assert rows["ap, post-processed"]["ccc_valence"] == pytest.approx(scored["valence"], abs=1e-6)


def test_utterances_are_scored_as_one_value_each(
    trained: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache("postprocess", trained, "--utterances", 40, "--split", "train")
    assert done.status == 0, done.err
    assert "utterances of the train split" in done.out
    assert json.loads((trained / "postprocess.json").read_text())["sequence"] == 40
