"""train, evaluate and predict as a user meets them: what they print, write and complain about."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.arrays import write_json
from affcache.cli import main
from affcache.metrics import ccc
from affcache.readout import apply
from affcache.store import Cache
from affcache.windows import load_split
from stages.simulate.cache import CacheSettings, simulate_cache
from stages.train import evaluation
from stages.train.data import for_run
from stages.train.run import open_run
from tests.caches import make_cache
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.multitask_world import short, small_world
from tests.stages.train.simulated import simulate

Command = Callable[..., Outcome]


def test_a_run_folder_says_what_it_is(cache: Path, trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["recipe"]["head"] == "ap"
    training = config["recipe"]["training"]
    assert (training["epochs"], training["iterations"]) == (3, 12)
    assert config["recipe"]["optimiser"]["learning_rate"] == 2.5e-4
    assert config["seed"] == 0
    assert config["pseudo"] == "backbone"
    assert config["cache"]["path"] == str(cache)
    assert config["cache"]["fingerprint"] == Cache(cache).fingerprint
    assert config["sizes"] == {
        "streams": [["features", 32]],
        "targets": [["va", ["valence", "arousal"]]],
        "fps": 25.0,
    }
    labels = np.concatenate(
        [s.labels[s.counted] for s in load_split(cache, "va", "backbone", "train")]
    )
    np.testing.assert_allclose(config["training_labels"]["mean"], labels.mean(0), atol=1e-6)
    np.testing.assert_allclose(config["training_labels"]["std"], labels.std(0), atol=1e-6)


def test_train_says_what_it_trains_on_and_prints_its_folder(
    cache: Path, tmp_path: Path, affcache: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = affcache("train", "--cache", cache, "--head", "ap", "--seed", 3, *quick())
    assert done.status == 0, done.err
    assert done.out == "runs/sim-ap-s3\n"
    assert "10 training videos" in done.err
    assert "on cpu" in done.err or "on cuda" in done.err
    assert "3 for validation" in done.err
    assert "epoch 3/3: loss" in done.err
    assert "validation CCC" in done.err
    assert "next: affcache evaluate runs/sim-ap-s3" in done.err


@pytest.mark.parametrize("recipe", ["ap-kl", "ap-reg", "ap-reg-kl", "ap-demo"])
def test_every_variant_trains(recipe: str, cache: Path, tmp_path: Path, affcache: Command) -> None:
    done = affcache(
        "train", "--cache", cache, "--recipe", recipe, "--out", tmp_path / "run", *quick()
    )
    assert done.status == 0, done.err


def test_evaluate_scores_everyone_by_the_same_frames(
    cache: Path, trained: Path, affcache: Command
) -> None:
    done = affcache("evaluate", trained, "--json")
    document = json.loads(done.out)
    assert document == json.loads((trained / "evaluation-test.json").read_text())
    assert document["split"] == "test"
    names = [row["predictor"] for row in document["scores"] if row["over"] == "frames"]
    assert names == [
        "pseudo-labels",
        "pseudo-labels, matched",
        "trailing mean",
        "trailing mean, matched",
        "ap",
        "ap, matched",
    ]
    sequences = load_split(cache, "va", "backbone", "test")
    truth = np.concatenate([s.labels[s.counted] for s in sequences]).astype(float)
    said = np.concatenate([s.pseudo[s.counted] for s in sequences]).astype(float)
    row = document["scores"][0]
    for d, name in enumerate(("valence", "arousal")):
        t, p = truth[:, d], said[:, d]
        covariance = ((t - t.mean()) * (p - p.mean())).mean()
        ccc = 2 * covariance / (t.var() + p.var() + (t.mean() - p.mean()) ** 2)
        assert row[f"ccc_{name}"] == pytest.approx(ccc, abs=1e-6)
        assert row[f"rmse_{name}"] == pytest.approx(((t - p) ** 2).mean() ** 0.5, abs=1e-6)
    assert row["ccc_mean"] == pytest.approx((row["ccc_valence"] + row["ccc_arousal"]) / 2)
    (coverage,) = document["coverage"]
    assert coverage["scored"] == len(truth)
    assert coverage["labelled without a face"] > 0
    assert [d["difference"] for d in document["paired"]] == [
        "ap minus pseudo-labels",
        "ap minus trailing mean",
    ]
    for paired in document["paired"]:
        assert paired["people"] == 3
        assert paired["low"] < paired["mean"] < paired["high"]


def test_matching_uses_the_training_labels_and_never_those_that_are_scored(
    cache: Path, trained: Path
) -> None:
    sequences = load_split(cache, "va", "backbone", "test")
    run = open_run(trained)
    spread = run.config["training_labels"]
    fitted = evaluation.matched(run.sizes, [s.pseudo for s in sequences], sequences, spread)
    pooled = np.concatenate([f[s.valid] for f, s in zip(fitted, sequences, strict=True)])
    np.testing.assert_allclose(pooled.mean(0), spread["mean"], atol=1e-6)
    np.testing.assert_allclose(pooled.std(0), spread["std"], atol=1e-6)
    assert all(np.isnan(f[~s.valid]).all() for f, s in zip(fitted, sequences, strict=True))


def test_evaluate_prints_tables_that_fit_a_terminal(trained: Path, affcache: Command) -> None:
    done = affcache("evaluate", trained)
    assert done.status == 0
    assert all(len(line) <= 80 for line in done.out.splitlines())
    for piece in (
        "CCC of va on test",
        "PCC of va",
        "RMSE of va",
        "ap, matched",
        "labelled without",
    ):
        assert piece in done.out


def test_without_test_labels_validation_is_scored_and_said(
    tmp_path: Path, affcache: Command
) -> None:
    small = simulate(tmp_path / "small.zarr", people=(6, 2, 0), frames=90, width=16)
    assert affcache("train", "--cache", small, "--out", tmp_path / "run", *quick()).status == 0
    done = affcache("evaluate", tmp_path / "run", "--json")
    assert json.loads(done.out)["split"] == "validation"
    assert "2 validation videos" in done.err
    refused = affcache("evaluate", tmp_path / "run", "--split", "test")
    assert refused.status == 2
    assert "no test video with labels to score against" in refused.err


def test_predict_writes_what_was_evaluated_and_nothing_where_there_is_no_face(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    done = affcache("predict", trained, cache, "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    assert len(json.loads(done.out)) == 16
    video = Cache(cache).video("v015")
    valid, time = video.array("valid"), video.array("time")
    assert not valid.all()
    with (tmp_path / "out" / "v015.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "frame", "time", "valid",
        "valence", "valence_std", "valence_decoder_std", "valence_latent_std",
        "arousal", "arousal_std", "arousal_decoder_std", "arousal_latent_std",
    ]  # fmt: skip
    assert [int(row["frame"]) for row in rows] == list(range(len(valid)))
    np.testing.assert_allclose([float(row["time"]) for row in rows], time, atol=1e-6)
    for row, has_face in zip(rows, valid, strict=True):
        fields = [row[name] for name in ("valence", "valence_std", "arousal", "arousal_std")]
        assert row["valid"] == str(int(has_face))
        assert all(fields) if has_face else not any(fields)
        assert not has_face or float(row["valence_std"]) >= 0.1
    assert (tmp_path / "out" / "v015.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads(affcache("evaluate", trained, "--json").out)
    truth, said = [], []
    for sequence in load_split(cache, "va", "backbone", "test"):
        with (tmp_path / "out" / f"{sequence.id}.csv").open() as file:
            column = [row["valence"] for row in csv.DictReader(file)]
        said += [float(column[i]) for i in np.flatnonzero(sequence.counted)]
        truth += sequence.labels[sequence.counted, 0].tolist()
    (score,) = (r for r in document["scores"] if r["predictor"] == "ap" and r["over"] == "frames")
    assert np.corrcoef(truth, said)[0, 1] == pytest.approx(score["pcc_valence"], abs=1e-4)


def test_predictions_on_an_unlabelled_cache_need_no_labels(
    trained: Path, tmp_path: Path, affcache: Command
) -> None:
    bare = simulate(tmp_path / "bare.zarr", people=(0, 0, 2), labelled=False)
    done = affcache("predict", trained, bare)
    assert done.status == 0, done.err
    assert (trained / "predictions" / "bare" / "v001.csv").exists()


def test_a_run_takes_its_readout_along_to_a_cache_without_pseudo_labels(
    tmp_path: Path, affcache: Command
) -> None:
    with_labels = make_cache(tmp_path / "a.zarr", videos=8, width=16, pseudo_va=False)
    without = make_cache(tmp_path / "b.zarr", videos=2, width=16, pseudo_va=False, labelled=False)
    refused = affcache("train", "--cache", with_labels, "--out", tmp_path / "run", *quick())
    assert refused.status == 2
    assert "affcache readout" in refused.err
    assert affcache("readout", "--cache", with_labels, "--task", "va").status == 0
    done = affcache("train", "--cache", with_labels, "--out", tmp_path / "run", *quick())
    assert done.status == 0, done.err
    assert "pseudo-labels 'readout'" in done.err
    run, other = open_run(tmp_path / "run"), Cache(without)
    (first, *_) = for_run(other, run.sizes, "readout", run.pseudo_attributes())
    model = Cache(with_labels).pseudo_attributes("readout")["tasks"]["va"]
    np.testing.assert_array_equal(
        first.pseudo[first.valid], apply(model, first.features)[first.valid]
    )
    assert np.isnan(first.pseudo[~first.valid]).all()
    assert affcache("predict", tmp_path / "run", without).status == 0
    write_json(tmp_path / "run" / "pseudo.json", {"method": "a teacher"})
    refused = affcache("predict", tmp_path / "run", without)
    assert refused.status == 2
    assert "lacks the pseudo-labels 'readout' that the run was trained with" in refused.err


def test_a_video_that_cannot_be_extracted_says_so_in_two_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first line is stage one's own: here, that nobody knows the cache's backbone."""

    def status(*words: object) -> object:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        return end.value.code

    simulated_backbone = make_cache(tmp_path / "a.zarr", videos=6, width=8)
    run, video = tmp_path / "run", tmp_path / "clip.mp4"
    video.write_bytes(b"not a video")
    assert status("train", "--cache", simulated_backbone, "--out", run, *quick()) == 0
    assert status("predict", run, video) == 2
    said = capfd.readouterr().err
    assert "'simulated'" in said
    assert f"{video}: could not be extracted (its reason is above)\n" in said
    assert "Traceback" not in said
    there = run / "predictions" / "clip" / "clip.zarr"
    there.mkdir(parents=True)  # of a video that has changed since, say
    assert status("predict", run, video) == 2
    assert f"(its reason is above); to extract it anew, remove {there}\n" in capfd.readouterr().err


def test_a_cache_of_another_fingerprint_is_refused_with_what_differs(
    trained: Path, tmp_path: Path, affcache: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.stages.train import simulated

    more = {f"setting {k}": k for k in range(6)}
    fields = {**simulated.FIELDS, "backbone": {"name": "facenet"}, **more}
    monkeypatch.setattr(simulated, "FIELDS", fields)
    other = simulate(tmp_path / "other.zarr", people=(0, 0, 2))
    for command in (("predict", trained, other), ("evaluate", trained, "--cache", other)):
        refused = affcache(*command)
        assert refused.status == 2
        assert "backbone.name: mini-xception in the run, facenet here" in refused.err
        assert "; and 3 more); extract it with the same settings" in refused.err
    assert not (trained / "predictions").exists()


def test_twelve_units_are_rows_of_a_table_that_fits_a_terminal(
    tmp_path: Path, affcache: Command
) -> None:
    world, out = small_world(tmp_path / "world.zarr"), tmp_path / "run"
    few = short("training.epochs=1", "training.iterations=2")
    done = affcache("train", "--cache", world, "--head", "streaming", "--out", out, *few)
    assert done.status == 0, done.err
    document = json.loads(affcache("evaluate", out, "--json").out)
    lines = affcache("evaluate", out).out.splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("F1 of au")) :]
    row = next(
        score
        for score in document["scores"]
        if (score["task"], score["predictor"], score["over"]) == ("au", "streaming", "frames")
    )
    shown = next(line for line in table if line.startswith("│ AU26 ")).split("│")
    assert float(shown[-2]) == pytest.approx(row["f1_AU26"], abs=6e-4)
    assert [line.split("│")[1].strip() for line in table if line.startswith("│ AU")][:2] == [
        "AU1",
        "AU2",
    ]


def test_tasks_without_labels_are_named_in_training_and_no_interval_is_explained(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    few = ("--set", "training.epochs=1", "--set", "training.iterations=2")
    out = tmp_path / "run"
    done = affcache("train", "--cache", cache, "--head", "streaming", "--out", out, *few)
    assert done.status == 0, done.err
    assert "no training labels of expr, au: what it predicts of them means nothing" in done.err
    document = json.loads(affcache("evaluate", out, "--json").out)
    assert {(row["task"], row["predictor"]) for row in document["scores"]} == {
        ("va", f"{name}{end}")
        for name in ("streaming", "pseudo-labels", "trailing mean")
        for end in ("", ", matched")
    }  # the cache has them of va alone
    assert [row["people"] for row in document["paired"]] == [3, 3]


@pytest.mark.parametrize(
    ("pseudo", "why"),
    [(True, "fewer than two people with frames"), (False, "no pseudo-labels to compare with")],
)
def test_why_there_is_no_interval_over_people_is_said(
    pseudo: bool, why: str, tmp_path: Path, affcache: Command
) -> None:
    cache = make_cache(tmp_path / "a.zarr", width=16, pseudo_va=pseudo)  # one person tests
    run = ("train", "--cache", cache, "--head", "mlp", "--out", tmp_path / "run")
    done = affcache(*run, "--set", "training.epochs=1", "--set", "training.iterations=2")
    assert done.status == 0, done.err
    assert why in affcache("evaluate", tmp_path / "run").out


def test_the_columns_of_several_tasks_stay_in_the_order_of_the_recipe(
    tmp_path: Path, affcache: Command
) -> None:
    tasks = tmp_path / "tasks.zarr"
    simulate_cache(tasks, CacheSettings(videos=12, frames=80, tasks=("va", "expr", "au")))
    words = ["--set", "training.epochs=1", "--set", "training.iterations=2"]
    done = affcache(
        "train", "--cache", tasks, "--head", "streaming", "--out", tmp_path / "run", *words
    )
    assert done.status == 0, done.err
    run = open_run(tmp_path / "run")
    assert list(run.sizes.targets) == ["va", "expr", "au"]
    shown = affcache("evaluate", tmp_path / "run", "--json")
    rows = {
        (row["task"], row["predictor"]): row
        for row in json.loads(shown.out)["scores"]
        if row["over"] == "frames"
    }
    sequences = load_split(tasks, "va", "backbone", "test")
    truth, said = (
        np.concatenate([getattr(s, name)[s.counted] for s in sequences])
        for name in ("labels", "pseudo")
    )
    assert rows["va", "pseudo-labels"]["ccc_valence"] == pytest.approx(ccc(truth[:, 0], said[:, 0]))
