"""Contexts chosen on the command line, the sweep over all of them, samples and calibration."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from affcache.metrics.calibration import calibration
from affcache.windows import load_split
from stages.train import inference
from stages.train.run import open_run
from stages.train.sweep import usual
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.simulated import simulate

Command = Callable[..., Outcome]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, quickly trained, for all tests of this module."""
    from affcache.cli import main

    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as end:
        main(["train", "--cache", str(cache), "--out", str(folder), *quick()])
    assert end.value.code == 0
    return folder


def predicted_with(run: Path, cache: Path, context: str, split: str) -> list[np.ndarray]:
    head, _ = open_run(run).trained_head(CPU)
    head.use_context(context)  # type: ignore[operator]
    sequences = load_split(cache, "va", "backbone", split)
    return [p.mean for p in inference.predict(head, sequences, 70, CPU)]


def test_evaluate_takes_the_context_that_it_is_told(
    cache: Path, run: Path, affcache: Command
) -> None:
    scores = {}
    for context in ("lowest:40", "largest:2", "all"):
        document = json.loads(affcache("evaluate", run, "--context", context, "--json").out)
        assert document["context"] == context
        scores[context] = next(
            row["rmse_mean"] for row in document["scores"] if row["predictor"] == "ap"
        )
        sequences = load_split(cache, "va", "backbone", "test")
        said = predicted_with(run, cache, context, "test")
        errors = [p[s.counted] - s.labels[s.counted] for p, s in zip(said, sequences, strict=True)]
        rmse = np.sqrt((np.concatenate(errors).astype(float) ** 2).mean(0)).mean()
        assert scores[context] == pytest.approx(rmse, abs=1e-6)
    assert len(set(scores.values())) == 3
    trained = json.loads(affcache("evaluate", run, "--json").out)
    assert trained["context"] is None
    own = next(row["rmse_mean"] for row in trained["scores"] if row["predictor"] == "ap")
    assert own == scores["lowest:40"]
    names = {path.name for path in run.glob("evaluation-test*.json")}
    assert {"evaluation-test.json", "evaluation-test-largest-2.json"} <= names


def test_evaluate_reports_whether_stated_uncertainty_is_true(
    cache: Path, run: Path, affcache: Command
) -> None:
    document = json.loads(affcache("evaluate", run, "--json").out)
    rows = {row["target"]: row for row in document["calibration"]}
    assert list(rows) == ["valence", "arousal", "all"]
    head, _ = open_run(run).trained_head(CPU)
    sequences = load_split(cache, "va", "backbone", "test")
    predicted = inference.predict(head, sequences, 70, CPU)
    truth, mean, std = (
        np.concatenate([part[s.counted, 1] for part, s in zip(parts, sequences, strict=True)])
        for parts in (
            [s.labels for s in sequences],
            [p.mean for p in predicted],
            [p.std for p in predicted if p.std is not None],
        )
    )
    expected = calibration(truth, mean, std)
    assert {name: rows["arousal"][name] for name in expected} == pytest.approx(expected)
    printed = affcache("evaluate", run).out
    assert "coverage of 50, 80, 95 % intervals" in printed
    assert [line for line in printed.splitlines() if len(line) > 80] == []


def test_a_sweep_says_what_evaluate_says_for_each_of_its_points(
    cache: Path, run: Path, affcache: Command
) -> None:
    done = affcache("sweep", run, "--split", "test", "--counts", "1,5,70", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document == json.loads((run / "sweep-test.json").read_text())
    assert [(p["selection"], p["context"]) for p in document["points"]] == [
        (rule, n) for rule in ("lowest", "largest", "random") for n in (1, 5, 70)
    ]
    for point in document["points"]:
        context = f"{point['selection']}:{point['context']}"
        one = json.loads(affcache("evaluate", run, "--context", context, "--json").out)
        row = next(row for row in one["scores"] if row["predictor"] == "ap")
        for name in ("ccc_valence", "ccc_arousal", "rmse_mean"):
            assert point[name] == pytest.approx(row[name], abs=1e-5)
        assert point["score"] == point["ccc_mean"]
    assert document["best"] == max(document["points"], key=lambda point: point["score"])
    assert document["as trained"] == {"selection": "lowest", "context": 40}
    with (run / "sweep-test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ccc_mean"]) for row in rows] == [p["ccc_mean"] for p in document["points"]]
    assert (run / "sweep-test.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_prints_its_best_point_and_looks_at_validation_first(
    run: Path, affcache: Command
) -> None:
    done = affcache("sweep", run)
    assert done.status == 0, done.err
    assert "mean CCC on validation, raw" in done.out
    assert "best: " in done.out
    assert f"{run}/sweep-validation.png" in done.out


def test_the_usual_numbers_end_with_all_frames_of_a_window() -> None:
    assert usual(70)[:6] == [1, 2, 3, 5, 7, 10]
    assert usual(70)[-3:] == [60, 65, 70]
    assert usual(4) == [1, 2, 3, 4]
    assert len(usual(7_500)) < 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "--context", "lowest"), "expected all, or lowest, largest, random"),
        (("evaluate", "--context", "best:4"), "such as lowest:40"),
        (("sweep", "--counts", "5,none"), "--counts 5,none: 'none' is no number of frames"),
        (("sweep", "--counts", ""), "is no number of frames"),
    ],
)
def test_what_is_no_context_is_one_clear_line(
    words: tuple[str, ...], message: str, run: Path, affcache: Command
) -> None:
    done = affcache(words[0], run, *words[1:])
    assert done.status == 2
    assert message in done.err.splitlines()[-1]


def test_heads_without_a_context_are_told_so(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    from affcache.errors import RunError
    from stages.train.contexts import choosing
    from stages.train.heads import head_class
    from stages.train.recipe import load
    from tests.stages.train.ap.ap_windows import sizes

    other = head_class("lstm-kf")(sizes(12), load("lstm-kf").model)
    with pytest.raises(RunError, match="chooses no context frames; Affective Processes"):
        choosing(other, "lstm-kf")


def test_predict_draws_functions_and_marks_context_and_window(
    run: Path, tmp_path: Path, affcache: Command
) -> None:
    other, out = simulate(tmp_path / "one.zarr", people=(0, 0, 1), seed=3), tmp_path / "out"
    words = ("predict", run, other, "--samples", 10, "--context", "lowest:10", "--out")
    done = affcache(*words, out)
    assert done.status == 0, done.err
    (sequence,) = load_split(other, "va", "backbone", "test")
    with np.load(out / "v000.npz") as arrays:
        samples, context, window = arrays["samples"], arrays["context"], arrays["window"]
    assert samples.shape == (150, 10, 2)
    assert np.isfinite(samples[sequence.valid]).all()
    assert np.isnan(samples[~sequence.valid]).all()
    assert window.tolist() == [0] * 70 + [1] * 70 + [2] * 10
    assert not (context & ~sequence.valid).any()
    assert context[:70].sum() == context[70:140].sum() == 10
    with (out / "v000.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["valid"] == "1"]
    for row in rows[:20]:
        parts = [float(row[f"valence_{part}"]) for part in ("decoder_std", "latent_std")]
        assert float(row["valence_std"]) == pytest.approx(np.hypot(*parts), abs=2e-6)
    again = tmp_path / "again"
    assert affcache(*words, again).status == 0
    with np.load(again / "v000.npz") as arrays:
        np.testing.assert_array_equal(arrays["samples"], samples)
    assert (out / "v000.png").read_bytes().startswith(b"\x89PNG")
