"""What a training step of the Affective Process costs, beside the least it could and the usual way.

Step: batch 16, 52 frames, 512 features, paper 000's AP on the CPU with one thread. Beside it stand
the same step on one fixed batch in memory (what the data path costs), its matrix products alone
(what the network costs beyond them), and the usual way: a Dataset over one HDF5 file, or over a
.npy file per video, that reads a window per item, and a DataLoader with two workers over it. Ways
take turns in a new order each time; a ratio is the median over turns of the ratio within a turn.

Where there is an NVIDIA GPU, paper 000's whole schedule (25,000 iterations, and validations) is
trained there, and the usual loop beside it for a part, before and after.

    python tests/bench/bench_train.py [--turns 21] [--record]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[2]))

from affcache.publish import create
from affcache.store import write_labels
from affcache.windows import RandomWindows, load_split
from stages.train.device import default_generator
from stages.train.heads import Sizes, Windows, head_class
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import Recipe, load
from stages.train.seeds import stream
from stages.train.training import optimisers, trainer
from stages.train.training.averaging import Average
from stages.train.training.batches import AT_ONCE, batches
from stages.train.training.descent import Descent, descent
from stages.train.training.state import State
from tests.bench.bench_windows import FRAMES, WIDTH, write_video
from tests.bench.records import RESULTS, environment, record

VIDEOS, LENGTH, BATCH = 64, 52, 16
SIZES = Sizes({"features": WIDTH}, {"va": ("valence", "arousal")}, 25.0)
CPU = torch.device("cpu")
ENDLESS = 10**9
Way = Callable[[], object]


class Usual(Dataset[dict[str, Tensor]]):
    """A window per item, as datasets are commonly written: open the file, slice, convert."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        each = FRAMES // LENGTH
        self.items = [(f"v{i:04d}", n * LENGTH) for i in range(VIDEOS) for n in range(each)]
        self.file: h5py.File | None = None

    def __len__(self) -> int:
        return len(self.items)

    def read(self, video: str, name: str, window: slice) -> Tensor:
        if self.kind == "npy":
            rows = np.load(self.folder / "npy" / f"{video}-{name}.npy", mmap_mode="r")[window]
        else:
            self.file = self.file or h5py.File(self.folder / "x.h5", "r")
            rows = self.file[video][name][window]
        return torch.from_numpy(rows.astype(np.float32))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        video, start = self.items[index]
        window = slice(start, start + LENGTH)
        names = ("features", "pseudo", "labels", "mask")
        return {name: self.read(video, name, window) for name in names}


def usual(folder: Path, kind: str, pinned: bool = False) -> Iterator[Windows]:
    """Batches of the usual way, epoch after epoch, on the CPU."""
    loader = DataLoader(
        Usual(folder, kind),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
        pin_memory=pinned,
    )
    while True:
        for batch in loader:
            batch["mask"] = batch["mask"] > 0
            yield Windows(**batch)


def build(folder: Path) -> None:
    """The same videos as a cache, as one HDF5 file and as .npy files; every eighth validates."""
    draw = np.random.default_rng(0)
    block = draw.normal(size=(FRAMES, WIDTH)).astype(np.float16)
    create(folder / "x.zarr", "bench", {"what": "bench"}, {})
    (folder / "npy").mkdir()
    with h5py.File(folder / "x.h5", "w") as file:
        for i in range(VIDEOS):
            video, features = f"v{i:04d}", np.roll(block, i * 7, axis=0)
            write_video(folder / "x.zarr", video, features)
            labels = draw.uniform(-1, 1, (FRAMES, 2)).astype(np.float32)
            split = "validation" if i % 8 == 7 else "train"
            about = {"subject": video, "split": {"va": split}}
            write_labels(folder / "x.zarr", video, {"va": labels}, about)
            rows = {
                "features": features,
                "pseudo": np.zeros_like(labels),
                "labels": labels,
                "mask": np.ones(FRAMES, bool),
            }
            for name, values in rows.items():
                file.create_dataset(f"{video}/{name}", data=values)
                np.save(folder / "npy" / f"{video}-{name}.npy", values)


class Stepping(NamedTuple):
    """A head in training on a device: `trainer.step` with what it needs."""

    recipe: Recipe
    state: State
    compute: Descent
    device: torch.device

    def step(self, windows: Windows, k: int) -> dict[str, Tensor]:
        """Iteration k as the trainer runs it."""
        generator = default_generator(self.device)
        generator.manual_seed(stream(0, k))
        return trainer.step(self.state, self.compute, windows, generator, self.recipe, k)


def stepping(device: torch.device, *changes: str) -> Stepping:
    """A fresh AP with the paper's recipe."""
    recipe = load("ap", None, changes)
    head = head_class("ap")(SIZES, recipe.model).to(device).train()
    optimiser = optimisers.make(head, recipe.optimiser, device)
    state = State(head, optimiser, Average(head, recipe.optimiser.ema))
    return Stepping(recipe, state, descent(head, recipe.training, device), device)


def products() -> Way:
    """The matrix products of one step: both networks' first layers and four hidden ones.

    Forward, gradient of the weights, and of the inputs except the first layers', whose inputs are
    data. Small ones (labels, latents, outputs) are left out.
    """
    x, h = torch.randn(BATCH * LENGTH, WIDTH), torch.randn(BATCH * LENGTH, 128)
    wide, square = torch.randn(128, WIDTH), torch.randn(128, 128)

    def run() -> None:
        for _ in range(2):
            _ = x @ wide.T, h.T @ x
            for _ in range(2):
                _ = h @ square.T, h @ square, h.T @ h

    return run


def fixed_length(folder: Path) -> RandomWindows:
    """Our batches, all of one length; the maps have been touched, so that no page is missing."""
    sequences = load_split(folder / "x.zarr", "va", "backbone", "train")
    for sequence in sequences:
        sequence.features.max()
    return RandomWindows(sequences, shortest=LENGTH, longest=LENGTH, batch=BATCH)


def turns_of(ways: dict[str, Way], turns: int, repeats: dict[str, int]) -> dict[str, list[float]]:
    """Seconds a call: a list over turns for each way, which is called `repeats` times in a turn."""
    draw = np.random.default_rng(0)
    names, seconds = list(ways), {name: [] for name in ways}
    for turn in range(-2, turns):  # the first two warm up and are thrown away
        for i in draw.permutation(len(names)):
            name = names[i]
            began = time.perf_counter()
            for _ in range(repeats[name]):
                ways[name]()
            if turn >= 0:
                seconds[name].append((time.perf_counter() - began) / repeats[name])
    return seconds


def ratios(some: list[float], others: list[float]) -> tuple[float, list[float]]:
    """Median and quartiles of the ratio within a turn."""
    low, middle, high = np.percentile(np.array(some) / np.array(others), [25, 50, 75])
    return round(float(middle), 3), [round(float(low), 3), round(float(high), 3)]


def data_alone(folder: Path, turns: int) -> list[dict[str, Any]]:
    """Batches per second without any training."""
    ours = batches(fixed_length(folder), 0, ENDLESS, CPU)
    ways = {"affcache": ours, "h5py": usual(folder, "h5"), "npy": usual(folder, "npy")}
    for feed in ways.values():
        next(feed)
    calls: dict[str, Way] = {name: feed.__next__ for name, feed in ways.items()}
    seconds = turns_of(calls, turns, {"affcache": 200, "h5py": 40, "npy": 40})
    rows: list[dict[str, Any]] = []
    for name, titled in [("h5py", "one HDF5 file"), ("npy", "a .npy per video")]:
        ratio, quartiles = ratios(seconds[name], seconds["affcache"])
        rows.append(
            {
                "what": f"batches a second, over a DataLoader with 2 workers on {titled}",
                "batches/s": round(1 / statistics.median(seconds["affcache"])),
                "reference batches/s": round(1 / statistics.median(seconds[name])),
                "ratio": ratio,
                "quartiles": quartiles,
                "bar": "at least 10",
                "met": ratio >= 10,
            }
        )
    return rows


def whole_steps(folder: Path, turns: int) -> list[dict[str, Any]]:
    """A training step with its data, beside steps without, products alone and the usual data."""
    ours = stepping(CPU)
    numbers = count()
    feed = batches(fixed_length(folder), 0, ENDLESS, CPU)
    fixed = Windows(*(tensor.clone() for tensor in next(feed)))
    h5, npy = usual(folder, "h5"), usual(folder, "npy")
    waited: list[float] = []

    def with_data() -> None:
        began = time.perf_counter()
        windows = next(feed)
        waited.append(time.perf_counter() - began)
        ours.step(windows, next(numbers))

    ways: dict[str, Way] = {
        "affcache": with_data,
        "fixed": lambda: ours.step(fixed, next(numbers)),
        "products": products(),
        "h5py": lambda: ours.step(next(h5), next(numbers)),
        "npy": lambda: ours.step(next(npy), next(numbers)),
    }
    each = AT_ONCE  # so that what is drawn in advance is paid for in the same turn
    seconds = turns_of(ways, turns, dict.fromkeys(ways, each))
    waits = np.array(waited).reshape(-1, each)[2:].mean(axis=1)
    own = seconds["affcache"]

    def row(what: str, pair: tuple[float, list[float]], **more: Any) -> dict[str, Any]:
        return {"what": what, "ratio": pair[0], "quartiles": pair[1], **more}

    def at_most(bar: float, what: str, pair: tuple[float, list[float]]) -> dict[str, Any]:
        return row(what, pair, bar=f"at most {bar}", met=pair[0] <= bar)

    return [
        {"what": "whole AP step", "ms": round(1e3 * statistics.median(own), 2)},
        at_most(1.05, "to the step on a fixed batch in memory", ratios(own, seconds["fixed"])),
        at_most(2.0, "to its matrix products alone", ratios(own, seconds["products"])),
        at_most(0.03, "waiting for data, share of the step", ratios(list(waits), own)),
        row("usual way over HDF5, to the step", ratios(seconds["h5py"], own)),
        row("usual way over .npy, to the step", ratios(seconds["npy"], own)),
    ]


def on_gpu(folder: Path) -> list[dict[str, Any]]:
    """Paper 000's schedule as `affcache train` runs it, beside the usual loop before and after."""
    device = torch.device("cuda")
    before = usual_loop(folder, device)
    seconds = {}
    for execution in ("eager", "graph"):
        recipe = load("ap", None, [f"training.execution={execution}"])
        job = Job(cache=folder / "x.zarr", recipe=recipe, device="cuda")
        learn = material(job)
        began = time.perf_counter()
        run_job(job, learn, folder / execution)
        seconds[execution] = time.perf_counter() - began
    total = recipe.training.epochs * recipe.training.iterations
    reference = total * (before + usual_loop(folder, device)) / 2
    return [
        {
            "what": f"{total:,} iterations with {recipe.training.epochs} validations, {execution}, "
            "to the eager loop with a DataLoader",
            "seconds": round(own, 1),
            "reference seconds": round(reference, 1),
            "ratio": round(reference / own, 2),
            "bar": "at least 8",
            "met": reference >= 8 * own,
        }
        for execution, own in seconds.items()
    ]


def usual_loop(folder: Path, device: torch.device, iterations: int = 1000) -> float:
    """Seconds an iteration of the loop that everybody writes, over one HDF5 file."""
    recipe = load("ap")
    head = head_class("ap")(SIZES, recipe.model).to(device).train()
    adam = torch.optim.Adam(head.parameters(), lr=2.5e-4, weight_decay=1e-4)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 25_000)
    feed, generator = usual(folder, "h5", pinned=True), default_generator(device)
    began = 0.0
    for k in range(-50, iterations):
        if k == 0:
            torch.cuda.synchronize(device)
            began = time.perf_counter()
        windows = Windows(*(tensor.to(device, non_blocking=True) for tensor in next(feed)))
        adam.zero_grad()
        loss = head.loss(windows, generator)["loss"]
        loss.backward()
        adam.step()
        course.step()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / iterations


def main() -> None:
    """Build, measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--turns", type=int, default=21, help="times that each is measured")
    parser.add_argument("--record", action="store_true", help=f"keep under {RESULTS.name}/")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment("numpy", "h5py", "zarr", "torch"),
        "what": f"AP steps, batch {BATCH}, {LENGTH} x {WIDTH} features, one thread; {VIDEOS} "
        f"videos x {FRAMES} frames; {asked.turns} turns",
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder)
        rows = [*data_alone(folder, asked.turns), *whole_steps(folder, asked.turns)]
        if torch.cuda.is_available():
            document["environment"]["device"] = torch.cuda.get_device_name()
            rows += on_gpu(folder)
        else:
            print("no NVIDIA GPU here: the complete schedule on one is not measured")
    document["results"] = rows
    print(json.dumps(document, indent=1))
    missed = [row["what"] for row in rows if not row.get("met", True)]
    print(f"bars: {'all met' if not missed else 'MISSED ' + '; '.join(missed)}")
    if asked.record:
        print(f"recorded: {record('train', document).name}")


if __name__ == "__main__":
    main()
