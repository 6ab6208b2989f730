"""What train, evaluate and predict refuse: runs, words and data, each in a clear line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.arrays import read_json, write_json
from affcache.store import Cache, unsealed, write_labels
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.simulated import simulate

Command = Callable[..., Outcome]


def test_windows_that_fit_no_video_are_refused_before_a_folder_is_made(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    """The message says what to set, and the same command with it must not meet a stale run."""
    words = ("train", "--cache", cache, "--out", tmp_path / "run", "--head", "mlp")
    few = ("--set", "training.epochs=1", "--set", "training.iterations=2")
    longer = affcache(*words, *few, "--set", "windows.shortest=400", "--set", "windows.longest=400")
    assert longer.status == 2
    assert "(longest video 150 frames" in longer.err
    assert "set windows.shortest lower" in longer.err
    assert not (tmp_path / "run").exists()
    assert affcache(*words, *few).status == 0


def test_a_validation_split_that_no_epoch_can_be_scored_on_is_refused_before_a_folder_is_made(
    tmp_path: Path, affcache: Command
) -> None:
    small = simulate(tmp_path / "small.zarr", people=(6, 1, 0), frames=90, width=16)
    video = next(v for v in Cache(small).videos() if v.label_attributes["split"] != {"va": "train"})
    labels = np.full((90, 2), np.nan, np.float32)
    labels[np.flatnonzero(video.array("valid"))[0]] = 0.5
    with unsealed(small):
        write_labels(small, video.id, {"va": labels}, video.label_attributes)
    done = affcache("train", "--cache", small, "--out", tmp_path / "run", *quick())
    assert done.status == 2
    assert "the validation split has fewer than two frames with a face and a label" in done.err
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_goes_on_only_with_the_same_configuration(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    changed = affcache("train", "--cache", cache, "--out", trained, *quick("model.width=8"))
    assert changed.status == 2
    assert "holds another run (recipe.model.width: 16 there, 8 now)" in changed.err
    another = affcache("train", "--cache", cache, "--out", trained, "--head", "bigru")
    assert another.err.count(" there, ") == 4
    assert "more); choose another --out" in another.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    taken = affcache("train", "--cache", cache, "--out", tmp_path / "mine", *quick())
    assert taken.status == 2
    assert "not empty and not a run; choose another --out" in taken.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--head", "app"], "no head 'app'; did you mean 'ap'? known heads: "),
        (["--recipe", "ap-dem"], "ap-dem: no such recipe file; did you mean 'ap-demo'?"),
        (["--set", "training.epoch=3"], "unknown key 'training.epoch'; did you mean"),
        (["--device", "abacus"], "--device abacus: "),
        (["--pseudo", "teacher"], "teacher"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_what_does_not_exist_is_one_clear_line(
    words: list[str], message: str, cache: Path, tmp_path: Path, affcache: Command
) -> None:
    done = affcache("train", "--cache", cache, "--out", tmp_path / "run", *words)
    assert done.status == 2
    assert message in done.err
    assert done.err.startswith("affcache: ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_missing_caches_runs_and_videos_are_one_clear_line(
    trained: Path, tmp_path: Path, affcache: Command
) -> None:
    nowhere = tmp_path / "nowhere"
    for words, message in [
        (
            ("train", "--cache", nowhere),
            "nowhere: no cache here (make one with `affcache extract`)",
        ),
        (("evaluate", nowhere), "nowhere: no run here"),
        (("evaluate", trained, "--cache", nowhere), "nowhere: no cache here"),
        (
            ("predict", nowhere, nowhere),
            "nowhere: does not exist; expected a video file or a cache",
        ),
        (("predict", trained, tmp_path), "no cache here"),
    ]:
        done = affcache(*words)
        assert done.status == 2
        assert message in done.err
        assert "Traceback" not in done.err


def test_a_cache_without_training_labels_is_refused(tmp_path: Path, affcache: Command) -> None:
    bare = simulate(tmp_path / "bare.zarr", people=(2, 0, 0), labelled=False)
    done = affcache("train", "--cache", bare, "--out", tmp_path / "run")
    assert done.status == 2
    assert "affcache label" in done.err


def test_damaged_runs_are_named(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    for name, content, message in [
        ("best.safetensors", b"nonsense", "best.safetensors: not a checkpoint of affcache"),
        ("config.json", b"{", "no run here"),
        ("config.json", b"{}", "config.json: lacks recipe, seed"),
    ]:
        broken = tmp_path / "broken"
        shutil.copytree(trained, broken, dirs_exist_ok=True)
        (broken / name).write_bytes(content)
        done = affcache("evaluate", broken)
        assert done.status == 2
        assert message in done.err
    shutil.copytree(trained, tmp_path / "untrained")
    for name in ("best", "last"):
        (tmp_path / "untrained" / f"{name}.safetensors").unlink()
    done = affcache("evaluate", tmp_path / "untrained")
    assert "last.safetensors: missing; was the run ever trained?" in done.err


def test_weights_of_another_network_are_refused(trained: Path, affcache: Command) -> None:
    config = read_json(trained / "config.json")
    config["recipe"]["model"]["width"] = 8
    write_json(trained / "config.json", config)
    done = affcache("evaluate", trained)
    assert done.status == 2
    assert "best.safetensors: weights of another network" in done.err


def test_two_processes_do_not_train_into_one_folder(
    cache: Path, trained: Path, affcache: Command
) -> None:
    from stages.train.run import held

    with held(open_run(trained)):
        done = affcache("train", "--cache", cache, "--out", trained, *quick())
    assert done.status == 2
    assert "another process is training into it" in done.err


def test_a_run_that_failed_before_its_first_checkpoint_does_not_stand_in_the_way(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    words = ("train", "--cache", cache, "--out", tmp_path / "run", *quick())
    failed = affcache(*words, "--set", "optimiser.learning_rate=1e30")
    assert failed.status == 2
    assert "try a lower optimiser.learning_rate" in failed.err
    done = affcache(*words)
    assert done.status == 0, done.err
    assert "held a run without a checkpoint, whose settings are replaced" in done.err
    other = affcache(*words, "--set", "optimiser.learning_rate=1e-3")
    assert other.status == 2, "now there is something to lose"
    assert "holds another run" in other.err
