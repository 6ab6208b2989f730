"""The default recipe's ceilings are the figures that it was chosen for."""

import json

import numpy as np
import pytest

from affcache.metrics import summarise
from stages.simulate import circumplex, observation
from stages.simulate.ceilings import Ceilings, best, show_ceilings, standard_points
from stages.simulate.oracles import Belief
from stages.simulate.process import draw
from stages.simulate.settings import CacheSettings

TASKS = ("va", "expr", "au", "au_intensity")


def ceilings(settings: CacheSettings, videos: range) -> Ceilings:
    """What the estimators say of some videos, after as many training labels."""
    found = Ceilings(settings)
    drawn = draw(settings, videos)
    found.train(drawn.labels.reshape(-1, 2))
    found.test(drawn)
    return found


def test_context_matters_as_much_as_it_was_chosen_to() -> None:
    scores = ceilings(CacheSettings(), range(200)).scores()["va"]
    found = {name: table["ccc_mean"] for name, table in scores.items()}
    matched = {name: table["ccc_mean_matched"] for name, table in scores.items()}
    assert found["pseudo-labels"] == pytest.approx(0.60, abs=0.03)
    assert matched["window"] == pytest.approx(0.84, abs=0.03)
    assert found["filter"] == pytest.approx(0.84, abs=0.03)
    assert found["smoother"] == pytest.approx(0.90, abs=0.03)


def test_longer_sequences_tell_their_offset() -> None:
    scores = ceilings(CacheSettings(frames=1500), range(80)).scores()["va"]
    assert scores["filter"]["ccc_mean"] == pytest.approx(0.88, abs=0.03)
    assert scores["smoother"]["ccc_mean"] == pytest.approx(0.93, abs=0.02)


def test_more_context_is_better_at_every_task() -> None:
    scores = ceilings(CacheSettings(frames=200, tasks=TASKS), range(25)).scores()
    for task, metric in (
        ("va", "ccc_mean"),
        ("expr", "accuracy"),
        ("au", "f1_mean"),
        ("au_intensity", "icc_mean"),
    ):
        order = [scores[task][name][metric] for name in ("frame", "window", "smoother")]
        assert order == sorted(order), task


def test_intensities_are_scored_on_the_scale_of_an_evaluation() -> None:
    """Squared errors of `affcache evaluate` lie beside these, from 0 to 5 squared."""
    settings = CacheSettings(frames=50, tasks=("au_intensity",))
    drawn = draw(settings, range(4))
    seen = slice(settings.reach, settings.reach + settings.frames)
    shown = observation.classified(settings.process, drawn.shown[:, seen])
    truth, said = (circumplex.intensities(va[drawn.valid]) for va in (drawn.labels, shown))
    found = ceilings(settings, range(4)).scores()["au_intensity"]["pseudo-labels"]
    truths, predictions = ([rows / 2.5 - 1] for rows in (truth, said))
    names = tuple(f"AU{k}" for k in range(truth.shape[1]))
    evaluated = summarise(truths, predictions, targets=names, task="au_intensity")
    assert found["mse_mean"] == pytest.approx(((truth - said) ** 2).mean(), rel=1e-6)
    assert found["mse_mean"] == pytest.approx(evaluated["mse_mean"], rel=1e-5)
    assert found["icc_mean"] == pytest.approx(evaluated["icc_mean"], rel=1e-5)


def test_a_sure_belief_says_what_follows_from_it() -> None:
    va = np.random.default_rng(0).uniform(-0.8, 0.8, (500, 2))
    away = np.abs(np.hypot(va[:, 0], va[:, 1]) - circumplex.DISC) > 1e-3
    said = best(Belief(va[away], np.full(int(away.sum()), 1e-9)), TASKS)
    np.testing.assert_array_equal(said["expr"], circumplex.expressions(va[away]))
    np.testing.assert_array_equal(said["au"], circumplex.units(va[away]))
    np.testing.assert_allclose(said["au_intensity"], circumplex.intensities(va[away]), atol=1e-6)


def test_an_unsure_belief_is_averaged_over() -> None:
    belief = Belief(np.array([[0.2, 0.1]]), np.array([0.3]))
    draws = 0.3 * np.random.default_rng(0).normal(size=(200_000, 2)) + belief.mean
    draws = np.clip(draws, -1, 1)
    said = best(belief, TASKS)
    np.testing.assert_allclose(
        said["au_intensity"][0], circumplex.intensities(draws).mean(axis=0), atol=0.08
    )
    shares = np.bincount(circumplex.expressions(draws), minlength=7)
    assert said["expr"][0] == shares.argmax()


def test_the_points_of_a_standard_normal_have_its_moments() -> None:
    points = standard_points()
    assert points.shape == (64, 2)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(points.T, ddof=0), np.eye(2), atol=1e-12)


def test_the_training_spread_is_that_of_all_training_labels() -> None:
    found = Ceilings(CacheSettings())
    labels = np.random.default_rng(0).normal(size=(100, 2))
    for part in (labels[:30], labels[30:]):
        found.train(part)
    np.testing.assert_allclose(found.spread["mean"], labels.mean(axis=0))
    np.testing.assert_allclose(found.spread["std"], labels.std(axis=0))


def test_tables_are_one_a_task_and_json_is_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    scores = ceilings(CacheSettings(frames=80, tasks=("va", "au")), range(5)).scores()
    show_ceilings("x.zarr", scores, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["estimator"]) for row in rows][4:6] == [
        ("va", "smoother"),
        ("au", "pseudo-labels"),
    ]
    assert rows[0]["ccc_mean"] == scores["va"]["pseudo-labels"]["ccc_mean"]
    show_ceilings("x.zarr", scores, as_json=False)
    shown = capsys.readouterr().out
    assert "va: the best possible" in shown
    assert "au: the best possible" in shown
    assert "simulated" in shown
