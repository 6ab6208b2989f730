"""Decision-level fusion: eq. 3 by hand, and the command as a user meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.errors import RunError
from affcache.targets import FIXED
from stages.train.experiments.fusion import fuse, weights_of
from stages.train.heads import Sizes
from stages.train.recipe import load
from stages.train.run import Run
from stages.train.sessions.ensemble import same_targets
from tests.stages.train.conftest import Outcome, quick

VA = Sizes({"features": 1}, {"va": FIXED["va"]}, 25.0)
ALL = Sizes({"features": 1}, dict(FIXED), 25.0)


def test_weights_are_shares_of_the_validation_scores() -> None:
    scored = [
        {"va": {"ccc_valence": 0.6, "ccc_arousal": -0.2, "ccc_mean": 0.2}},
        {"va": {"ccc_valence": 0.2, "ccc_arousal": 0.5, "ccc_mean": 0.35}},
    ]
    np.testing.assert_allclose(weights_of(VA, scored), [[0.75, 0.0], [0.25, 1.0]])


def test_runs_that_all_scored_below_nothing_weigh_the_same() -> None:
    scored = [{"va": {"ccc_valence": -0.1, "ccc_arousal": 0.0}}, {}]
    np.testing.assert_allclose(weights_of(VA, scored), np.full((2, 2), 0.5))


def test_expressions_share_one_weight_so_that_they_add_up() -> None:
    units = {f"f1_{name}": 0.5 for name in FIXED["au"]}
    scored = [
        {"expr": {"f1_mean": 0.3, "f1_Neutral": 0.9}, "au": units},
        {"expr": {"f1_mean": 0.1, "f1_Neutral": 0.0}, "au": {**units, "f1_AU1": 0.0}},
    ]
    weights = weights_of(ALL, scored)
    np.testing.assert_allclose(weights[:, ALL.columns("expr")], [[0.75] * 7, [0.25] * 7])
    np.testing.assert_allclose(weights[:, ALL.columns("au")][:, :2], [[1, 0.5], [0, 0.5]])
    draw = np.random.default_rng(0)
    opinions = np.concatenate(
        [draw.random((2, 9, 2)), draw.dirichlet(np.ones(7), (2, 9)), draw.random((2, 9, 12))], -1
    )
    for rule in ("ccc", "mean", "median", "majority"):
        fused = fuse(ALL, opinions, rule, weights)
        np.testing.assert_allclose(fused[:, ALL.columns("expr")].sum(1), 1)


def test_the_rules_are_what_they_are_called() -> None:
    opinions = np.array([[[0.0, 1.0]], [[0.5, 0.0]], [[0.7, 0.2]]])
    weights = np.array([[0.5, 0.2], [0.5, 0.3], [0.0, 0.5]])
    for rule, expected in (
        ("ccc", [0.25, 0.3]),
        ("mean", [0.4, 0.4]),
        ("median", [0.5, 0.2]),
        ("majority", [0.4, 0.4]),  # numbers are averaged, there is nothing to decide
    ):
        np.testing.assert_allclose(fuse(VA, opinions, rule, weights), [expected])
    with pytest.raises(ValueError, match="rule 'best'"):
        fuse(VA, opinions, "best", weights)


def test_medians_of_expressions_that_are_all_0_fall_back_on_the_mean() -> None:
    opinions = np.zeros((3, 1, ALL.count))
    for run, column in enumerate((2, 3, 4)):
        opinions[run, 0, column] = 1
    fused = fuse(ALL, opinions, "median", np.ones((3, ALL.count)))
    np.testing.assert_allclose(fused[0, 2:5], [1 / 3] * 3)


def test_a_frame_about_which_a_run_says_nothing_stays_empty() -> None:
    opinions = np.array([[[0.0, 1.0], [0.1, 0.1]], [[np.nan, np.nan], [0.1, 0.3]]])
    for rule in ("ccc", "mean", "median", "majority"):
        fused = fuse(VA, opinions, rule, np.full((2, 2), 0.5))
        assert np.isnan(fused[0]).all()
        assert np.isfinite(fused[1]).all()


@pytest.fixture(scope="module")
def runs(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one head, quickly trained."""
    from affcache.cli import main

    folders = [tmp_path_factory.mktemp("runs") / f"s{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        with pytest.raises(SystemExit):
            main(["train", "--cache", str(cache), "--out", str(folder), "--seed", str(seed),
                  "--device", "cpu", *quick()])  # fmt: skip
    return folders


def test_the_command_scores_each_run_and_what_they_say_together(
    runs: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    out = tmp_path / "fused"
    done = affcache("ensemble", *runs, "--out", out, "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert [row[""] for row in document["scores"]] == ["s0", "s1", "ensemble: ccc"]
    assert [row[""] for row in document["weights"]] == ["valence", "arousal"]
    assert all(row["s0"] + row["s1"] == pytest.approx(1) for row in document["weights"])
    assert json.loads((out / "ensemble.json").read_text()) == document
    assert len([*out.glob("*.csv")]) == 3


def test_what_is_written_is_the_weighted_mean_of_what_runs_predict(
    runs: list[Path], cache: Path, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache("ensemble", *runs, "--out", tmp_path / "fused", "--json")
    document = json.loads(done.out)
    weights = np.array([[row[run] for row in document["weights"]] for run in ("s0", "s1")])
    for seed, run in enumerate(runs):
        assert affcache("predict", run, cache, "--out", tmp_path / f"p{seed}").status == 0
    names = sorted(path.name for path in (tmp_path / "fused").glob("*.csv"))
    fused, *each = ([table(tmp_path / f / n) for n in names] for f in ("fused", "p0", "p1"))
    for whole, one, other in zip(fused, *each, strict=True):
        np.testing.assert_allclose(whole, weights[0] * one + weights[1] * other, atol=1e-5)


def table(path: Path) -> np.ndarray:
    """Valence and arousal of the frames with a face."""
    rows = np.genfromtxt(path, delimiter=",", names=True)
    both = np.stack([rows["valence"], rows["arousal"]], axis=1)
    return both[np.isfinite(both).all(axis=1)]


def test_columns_in_another_order_are_not_mixed_up(tmp_path: Path) -> None:
    def opened(task: str) -> Run:
        targets = [[one, list(FIXED[one])] for one in task.split("+")]
        sizes = {"streams": [["features", 8]], "targets": targets, "fps": 25.0}
        recipe = load("mt", None, [f"task={task}"]).as_dict()
        return Run(tmp_path / task, {"sizes": sizes, "recipe": recipe})

    assert same_targets([opened("va+au"), opened("va+au")]).count == 14
    with pytest.raises(RunError, match=r"predicts au\+va, but .* predicts va\+au"):
        same_targets([opened("va+au"), opened("au+va")])


def test_one_run_is_no_ensemble(runs: list[Path], affcache: Callable[..., Outcome]) -> None:
    done = affcache("ensemble", runs[0])
    assert done.status == 2
    assert "takes two runs or more" in done.err


def test_runs_of_different_tasks_do_not_fit(
    runs: list[Path], tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in runs[0].iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["sizes"]["targets"] = {"au": ["AU1"]}
    config["recipe"]["task"] = "va"
    (other / "config.json").write_text(json.dumps(config))
    done = affcache("ensemble", runs[0], other)
    assert done.status == 2
    assert "an ensemble needs runs of one task" in done.err
