"""Training: learns, and goes on after any interruption as if there had been none."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from affcache import windows
from affcache.errors import RecipeError
from stages.train.device import choose
from stages.train.heads import Windows
from stages.train.seeds import stream
from stages.train.training import trainer
from stages.train.training.batches import batches, choose_way
from stages.train.training.board import board
from stages.train.training.resident import Resident, Tables, size
from tests.stages.train.conftest import Outcome, quick
from tests.stages.train.simulated import simulate

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")
Command = Callable[..., Outcome]


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, the optimiser's state, best epoch and metrics, all to the bit."""
    assert metrics(one) == metrics(other)
    for name in ("last.safetensors", "best.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert torch.equal(value, b[key]), (name, key)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, iteration: int, number: int) -> None:
    """Send this process a real signal in the midst of an iteration."""

    def interrupting(seed: int, k: int) -> int:
        if k == iteration:
            signal.raise_signal(number)
        return stream(seed, k)

    monkeypatch.setattr(trainer, "stream", interrupting)


@pytest.mark.parametrize("iteration", [0, 5, 11, 12, 29, 35])
def test_ctrl_c_anywhere_and_the_same_command_equal_an_unbroken_run(
    iteration: int,
    cache: Path,
    trained: Path,
    tmp_path: Path,
    affcache: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("train", "--cache", cache, "--out", tmp_path / "broken", *quick())
    with monkeypatch.context() as patch:
        interrupt_at(patch, iteration, signal.SIGINT)
        stopped = affcache(*command)
    assert stopped.status == 130
    assert f"stopped after iteration {iteration + 1} of 36" in stopped.err
    assert affcache(*command).status == 0
    assert_same_run(trained, tmp_path / "broken")


def test_a_termination_is_as_gentle_as_ctrl_c(
    cache: Path,
    trained: Path,
    tmp_path: Path,
    affcache: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("train", "--cache", cache, "--out", tmp_path / "broken", *quick())
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20, signal.SIGTERM)
        assert affcache(*command).status == 130
    assert affcache(*command).status == 0
    assert_same_run(trained, tmp_path / "broken")


def test_a_killed_run_goes_on_from_its_last_epoch(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    longer = quick("training.epochs=20", "training.iterations=8")
    command = ["train", "--cache", str(cache), "--device", "cpu", *longer, "--out"]
    broken = tmp_path / "broken"
    with subprocess.Popen(
        [sys.executable, "-m", "affcache", *command, str(broken)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (broken / "last.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert (broken / "last.safetensors").exists()
    assert affcache(*command, broken).status == 0
    assert affcache(*command, tmp_path / "whole").status == 0
    assert_same_run(tmp_path / "whole", broken)


def test_ctrl_c_at_a_terminal_reaches_the_workers_and_still_ends_gently(
    cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    longer = quick("training.epochs=1000", "training.iterations=8")
    command = ["train", "--cache", str(cache), "--workers", "2", "--out", str(run), *longer]
    with subprocess.Popen(
        [sys.executable, "-m", "affcache", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not (run / "last.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said


def test_a_finished_run_is_left_as_it_is(cache: Path, trained: Path, affcache: Command) -> None:
    before = metrics(trained)
    again = affcache("train", "--cache", cache, "--out", trained, *quick())
    assert again.status == 0
    assert again.out.strip() == str(trained)
    assert metrics(trained) == before


def source_of(cache: Path, **changes: int) -> windows.RandomWindows:
    return windows.RandomWindows(
        windows.load_split(cache, "va", "backbone", "train"), seed=7, **changes
    )


def kept(feed: Iterator[Windows]) -> list[Windows]:
    """Batches that outlive the next one."""
    return [Windows(*(tensor.clone() for tensor in batch)) for batch in feed]


def assert_same_batches(some: list[Windows], others: list[Windows]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_batches_are_the_windows_that_were_drawn_in_float32(cache: Path) -> None:
    source = source_of(cache)
    for k, batch in enumerate(batches(source, 0, 12, CPU)):
        drawn = source.batch(k)
        assert batch.features.dtype == torch.float32
        np.testing.assert_array_equal(batch.features.numpy(), drawn.features.astype(np.float32))
        for ours, theirs in zip(batch[1:], drawn[1:], strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs)


def test_batches_gathered_on_the_device_have_the_same_bits(cache: Path) -> None:
    source = source_of(cache, batch=5)
    mapped = kept(batches(source, 2, 40, CPU, "map"))
    assert_same_batches(mapped, kept(batches(source, 2, 40, CPU, "device")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA device here")
@pytest.mark.parametrize("way", ["map", "device"])
def test_batches_on_a_gpu_have_the_same_bits(way: str, cache: Path) -> None:
    source = source_of(cache)
    there = kept(batches(source, 0, 60, torch.device("cuda"), way))
    here = kept(batches(source, 0, 60, CPU))
    assert_same_batches(here, [Windows(*(tensor.cpu() for tensor in b)) for b in there])


def test_several_streams_stand_side_by_side_on_the_device_too(cache: Path) -> None:
    train = windows.load_split(cache, "va", "backbone", "train")
    doubled = [dataclasses.replace(s, others=(s.features[:, ::-1].copy(),)) for s in train]
    source = windows.RandomWindows(doubled, batch=5)
    mapped = kept(batches(source, 0, 9, CPU, "map"))
    assert mapped[0].features.shape[-1] == 64
    assert_same_batches(mapped, kept(batches(source, 0, 9, CPU, "device")))


def test_the_memory_of_a_batch_is_used_again(cache: Path) -> None:
    places = {batch.features.data_ptr() for batch in batches(source_of(cache), 0, 20, CPU)}
    assert len(places) == 1


def test_the_size_of_the_data_on_the_device_is_known_before_it_is_put_there(cache: Path) -> None:
    source = source_of(cache)
    tables = Tables(source, CPU)
    tensors = (Resident(source, CPU).features, tables.pseudo, tables.labels, tables.mask)
    assert sum(t.numel() * t.element_size() for t in tensors) == size(source)


def test_the_way_of_the_data_is_the_maps_on_a_cpu_and_can_be_chosen(cache: Path) -> None:
    source = source_of(cache)
    assert choose_way("auto", source, CPU, 0) == "map"
    assert choose_way("device", source, CPU, 0) == "device"
    with pytest.raises(RecipeError, match="--workers 2: with --data device no process"):
        choose_way("device", source, CPU, 2)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_change_nothing(
    start_method: str, cache: Path, recwarn: pytest.WarningsRecorder
) -> None:
    source = source_of(cache)
    alone = kept(batches(source, 3, 9, CPU))
    assert_same_batches(
        alone, kept(batches(source, 3, 9, CPU, workers=2, start_method=start_method))
    )


def test_a_run_with_workers_equals_one_without(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    folder = tmp_path / "helped"
    done = affcache("train", "--cache", cache, "--out", folder, "--workers", 1, *quick())
    assert done.status == 0, done.err
    assert_same_run(trained, folder)


def test_a_run_with_its_data_on_the_device_equals_one_from_the_maps(
    cache: Path, trained: Path, tmp_path: Path, affcache: Command
) -> None:
    folder = tmp_path / "resident"
    done = affcache("train", "--cache", cache, "--out", folder, "--data", "device", *quick())
    assert done.status == 0, done.err
    assert "of training data on cpu" in done.err
    assert_same_run(trained, folder)


def test_another_seed_is_another_run(cache: Path, trained: Path, affcache: Command) -> None:
    other = trained.with_name("other")
    assert affcache("train", "--cache", cache, "--out", other, "--seed", 1, *quick()).status == 0
    assert metrics(other) != metrics(trained)


def test_every_iteration_has_its_own_seed() -> None:
    seeds = {stream(seed, k) for seed in range(20) for k in range(-1, 500)}
    assert len(seeds) == 20 * 501
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_best_epoch_is_that_of_the_highest_validation_score(
    cache: Path, trained: Path, affcache: Command
) -> None:
    rows = metrics(trained)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    best = max(rows, key=lambda row: row["validation_score"])
    done = affcache("evaluate", trained, "--split", "validation", "--json")
    document = json.loads(done.out)
    (score,) = (
        row for row in document["scores"] if row["predictor"] == "ap" and row["over"] == "frames"
    )
    assert document["iteration"] == best["iteration"]
    assert score["ccc_mean"] == pytest.approx(best["validation_score"], abs=1e-6)


def test_without_a_validation_split_the_last_epoch_is_kept_and_said(
    tmp_path: Path, affcache: Command
) -> None:
    small = simulate(tmp_path / "small.zarr", people=(6, 0, 2), frames=90, width=16)
    done = affcache("train", "--cache", small, "--out", tmp_path / "run", *quick())
    assert done.status == 0, done.err
    assert "no labelled validation split" in done.err
    assert not (tmp_path / "run" / "best.safetensors").exists()
    assert "validation_score" not in metrics(tmp_path / "run")[0]
    assert affcache("evaluate", tmp_path / "run").status == 0


def test_a_loss_that_is_no_number_ends_the_run_with_advice(
    cache: Path, tmp_path: Path, affcache: Command
) -> None:
    wild = quick("optimiser.learning_rate=1e30", "optimiser.schedule=constant")
    done = affcache("train", "--cache", cache, "--out", tmp_path / "run", *wild)
    assert done.status == 2
    assert "try a lower optimiser.learning_rate" in done.err


def test_the_process_learns_what_no_single_frame_shows(tmp_path: Path, affcache: Command) -> None:
    """On people never seen, the level that only context reveals lifts AP above pseudo-labels."""
    world = simulate(tmp_path / "world.zarr", people=(40, 8, 16))
    changes = ["training.epochs=4", "training.iterations=80"]
    words = [word for change in changes for word in ("--set", change)]
    assert affcache("train", "--cache", world, "--out", tmp_path / "run", *words).status == 0
    document = json.loads(affcache("evaluate", tmp_path / "run", "--json").out)
    assert document["split"] == "test"
    ccc = {r["predictor"]: r["ccc_mean"] for r in document["scores"] if r["over"] == "frames"}
    assert ccc["ap"] > ccc["pseudo-labels"] + 0.1
    assert ccc["ap, matched"] > ccc["pseudo-labels, matched"] + 0.1


def test_the_device_is_checked_and_said() -> None:
    assert choose("cpu").type == "cpu"
    assert choose("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(RecipeError, match=r"--device abacus: .*try --device auto or cpu"):
        choose("abacus")
    assert math.isfinite(torch.get_num_threads())


def test_a_run_is_shown_on_tensorboard_where_it_is_installed(
    cache: Path, tmp_path: Path, affcache: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the package says what it was told; an interrupted epoch is told once."""
    told: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path, purge_step: int) -> None:
            told.append((str(folder), 0.0, purge_step))

        def __enter__(self) -> "Writer":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def flush(self) -> None:
            pass

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    run = tmp_path / "run"
    command = ("train", "--cache", cache, "--out", run, *quick())
    with monkeypatch.context() as patch:
        interrupt_at(patch, 20, signal.SIGINT)
        assert affcache(*command).status == 130
    assert affcache(*command).status == 0
    assert [row for row in told if "tensorboard" in row[0]] == [
        (str(run / "tensorboard"), 0.0, 1),
        (str(run / "tensorboard"), 0.0, 2),
    ]
    for row in metrics(run):
        assert ("loss", row["loss"], row["epoch"]) in told
        assert ("validation_score", row["validation_score"], row["epoch"]) in told
    names = {name for name, _, _ in told}
    assert "validation/va/ccc_mean" in names
    assert "epoch" not in names
    assert len([row for row in told if row[0] == "loss"]) == 3


def test_without_tensorboard_nothing_is_missed(trained: Path, tmp_path: Path) -> None:
    with board(tmp_path / "board", 0) as write:
        write({"epoch": 1, "loss": 0.5})
    if find_spec("tensorboard") is None:
        assert not (tmp_path / "board").exists()
        assert not (trained / "tensorboard").exists()
