"""The curriculum over n: what starts from what, what is written, what the table says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache import metrics
from affcache.errors import RecipeError
from stages.train.experiments import curriculum
from stages.train.experiments.curriculum import plan
from tests.stages.train.conftest import Outcome

Command = Callable[..., Outcome]
SHORT = (
    "training.epochs=1",
    "training.iterations=2",
    "windows.batch=4",
    "model.encoding=6",
    "model.state=5",
)


def command(cache: Path, out: Path, head: str = "anclaf-sa", lengths: str = "2,4") -> list[str]:
    changes = [word for change in SHORT for word in ("--set", change)]
    options = ["--cache", str(cache), "--head", head, "--out", str(out), "--device", "cpu"]
    return ["train", *options, "--curriculum", lengths, *changes]


def test_each_length_starts_from_the_one_before_and_attention_from_the_same_length() -> None:
    stages = plan("anclaf-sa", [2, 4, 8])
    assert [(s.name, s.n, s.start) for s in stages] == [
        ("anclaf", None, None),
        ("anclaf-s-2", 2, None),
        ("anclaf-s-4", 4, "anclaf-s-2"),
        ("anclaf-s-8", 8, "anclaf-s-4"),
        ("anclaf-sa-2", 2, "anclaf-s-2"),
        ("anclaf-sa-4", 4, "anclaf-s-4"),
        ("anclaf-sa-8", 8, "anclaf-s-8"),
    ]


@pytest.mark.parametrize(("head", "lengths"), [("ap", [2]), ("anclaf-s", [4, 2]), ("anclaf-s", [])])
def test_what_is_no_curriculum_is_refused(head: str, lengths: list[int]) -> None:
    with pytest.raises(RecipeError, match=r"--curriculum"):
        plan(head, lengths)


def test_a_curriculum_trains_every_stage_and_prints_the_papers_table(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    out = tmp_path / "runs"
    done = affcache(*command(cache, out), "--set", "model.context=printed", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document == json.loads((out / "curriculum.json").read_text())
    assert document["split"] == "test"
    assert [row["model"] for row in document["rows"]] == [
        "anclaf",
        "anclaf-s-2",
        "anclaf-s-4",
        "anclaf-s-avg",
        "anclaf-sa-2",
        "anclaf-sa-4",
        "anclaf-sa-avg",
    ]
    two, four, average = document["rows"][1:4]
    for key, value in average.items():
        if isinstance(value, float):
            assert value == pytest.approx((two[key] + four[key]) / 2)
    for row in document["rows"]:
        for metric in ("rmse", "cor", "icc", "ccc"):
            mean = (row[f"{metric}_valence"] + row[f"{metric}_arousal"]) / 2
            assert row[f"{metric}_mean"] == pytest.approx(mean)
    config = json.loads((out / "anclaf-sa-4" / "config.json").read_text())
    assert config["start"]["run"] == str(out / "anclaf-s-4")
    assert config["recipe"]["model"]["n"] == 4
    assert config["recipe"]["model"]["context"] == "printed"
    assert "stage 5 of 5: anclaf-sa-4 from anclaf-s-4" in done.err

    evaluated = json.loads(affcache("evaluate", out / "anclaf-s-4", "--json").out)
    (row,) = [
        s for s in evaluated["scores"] if s["predictor"] == "anclaf-s" and s["over"] == "frames"
    ]
    assert four["ccc_valence"] == pytest.approx(row["ccc_valence"])
    assert four["rmse_arousal"] == pytest.approx(row["rmse_arousal"])


def test_a_curriculum_goes_on_where_it_stopped(
    cache: Path, tmp_path: Path, affcache: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "runs", 0
    original = curriculum.run_job

    def stopping(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(curriculum, "run_job", stopping)
        assert affcache(*command(cache, out, "anclaf-s")).status == 130
    assert not (out / "anclaf-s-4").exists()
    first = (out / "anclaf-s-2" / "last.safetensors").read_bytes()
    done = affcache(*command(cache, out, "anclaf-s"))
    assert done.status == 0, done.err
    assert (out / "anclaf-s-2" / "last.safetensors").read_bytes() == first
    assert "anclaf-s-avg" in done.out
    assert "RMSE and COR on test" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--curriculum", "2,four"], "expected numbers of frames, such as 2,4,8,16,32"),
        (["--curriculum", "2,4", "--set", "model.n=8"], "--curriculum names the values of n"),
        (["--curriculum", "2,4", "--recipe", "anclaf-s-2"], "leave out --recipe, --start-from"),
    ],
)
def test_contradictions_are_explained(
    words: list[str], message: str, cache: Path, tmp_path: Path, affcache: Command
) -> None:
    done = affcache(
        "train", "--cache", cache, "--head", "anclaf-s", "--out", tmp_path / "runs", *words
    )
    assert done.status == 2
    assert message in done.err


def test_the_tables_icc_is_that_of_the_metrics() -> None:
    draw = np.random.default_rng(0)
    truth, said = draw.normal(size=(2, 50))
    assert curriculum.METRICS["icc"](truth, said) == metrics.icc(truth, said)
