"""How fast a window comes out of a cache, beside other ways to keep the same features.

Windows of 70 x 512 float16 from many videos are copied into a batch, at random and one after the
other. Every way reads the same windows in the same order; the ways take turns, and a ratio is the
median over turns of a way's time to that of np.memmap on one .npy with all videos. Files are in the
page cache (a pass over all data comes first), so this compares software, not disks.

    python tests/bench/bench_windows.py [--megabytes 400] [--turns 15] [--record]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
import zarr

sys.path.insert(0, str(Path(__file__).parents[2]))

from affcache.publish import VideoWriter, create
from affcache.store import write_labels
from affcache.windows import RandomWindows, load_split
from tests.bench.records import RESULTS, environment, record

LENGTH, WIDTH, FRAMES, BATCH = 70, 512, 2000, 16
TARGET = 1.15
Read = Callable[[int, int], np.ndarray]


class Way(NamedTuple):
    """A way to read: `fill(picks)` copies those windows; only every `thin`-th pick is timed."""

    name: str
    fill: Callable[[np.ndarray], None]
    thin: int = 1


def build(folder: Path, videos: int) -> None:
    """The same features as a cache, one .npy and one HDF5 file."""
    draw = np.random.default_rng(0)
    block = draw.normal(size=(FRAMES, WIDTH)).astype(np.float16)
    shape = (videos * FRAMES, WIDTH)
    flat = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float16, shape)
    cache = folder / "x.zarr"
    create(cache, "bench", {"what": "bench"}, {})
    with h5py.File(folder / "x.h5", "w") as file:
        for i in range(videos):
            features = np.roll(block, i * 7, axis=0)
            flat[i * FRAMES : (i + 1) * FRAMES] = features
            file.create_dataset(f"v{i:04d}", data=features)
            torch.save(torch.from_numpy(features.copy()), folder / f"v{i:04d}.pt")
            write_video(cache, f"v{i:04d}", features)
    flat.flush()


def write_video(cache: Path, name: str, features: np.ndarray) -> None:
    """One published, annotated training video in which every frame counts."""
    ones = np.ones(len(features))
    with VideoWriter(cache, name, {}) as writer:
        writer.append(
            {
                "features": features,
                "valid": ones > 0,
                "time": np.arange(len(features)) / 25,
                "box": np.tile([0.0, 0.0, 9.0, 9.0], (len(features), 1)),
                "landmarks": np.zeros((len(features), 5, 2)),
                "score": ones,
                "pseudo_va": np.zeros((len(features), 2)),
            }
        )
        writer.publish({"fingerprint": name})
    va = np.zeros((len(features), 2), np.float32)
    write_labels(cache, name, {"va": va}, {"subject": name, "split": {"va": "train"}})


def copying(read: Read, dtype: type) -> Callable[[np.ndarray], None]:
    """Copy windows (video, start) one after the other into the rows of a batch."""
    batch = np.empty((BATCH, LENGTH, WIDTH), dtype)

    def fill(picks: np.ndarray) -> None:
        for row, (video, start) in enumerate(picks.tolist()):
            batch[row % BATCH] = read(video, start)

    return fill


def ways(folder: Path, videos: int) -> list[Way]:
    """Every way, the reference first."""
    flat = np.load(folder / "x.npy", mmap_mode="r")
    sequences = load_split(folder / "x.zarr", "va", "backbone", "train")
    mapped = [s.features for s in sequences]
    file = h5py.File(folder / "x.h5")
    sets = [file[f"v{i:04d}"] for i in range(videos)]
    group = zarr.open_group(folder / "x.zarr", mode="r")["videos"]
    arrays = [group[f"v{i:04d}/features"] for i in range(videos)]
    random = RandomWindows(sequences, shortest=LENGTH, longest=LENGTH, batch=BATCH)

    def npy(video: int, start: int) -> np.ndarray:
        return flat[video * FRAMES + start : video * FRAMES + start + LENGTH]

    def cache(video: int, start: int) -> np.ndarray:
        return mapped[video][start : start + LENGTH]

    def hdf5(video: int, start: int) -> np.ndarray:
        return sets[video][start : start + LENGTH]

    def api(video: int, start: int) -> np.ndarray:
        return arrays[video][start : start + LENGTH]

    def loaded(video: int, start: int) -> np.ndarray:
        return torch.load(folder / f"v{video:04d}.pt")[start : start + LENGTH].numpy()

    def whole_batches(picks: np.ndarray) -> None:
        for k in range(len(picks) // BATCH):
            random.batch(int(picks[k, 1]) + k)

    return [
        Way("np.memmap of one .npy", copying(npy, np.float16)),
        Way("affcache: mapped window", copying(cache, np.float16)),
        Way("affcache: RandomWindows.batch", whole_batches),
        Way("h5py contiguous", copying(hdf5, np.float16)),
        Way("zarr API", copying(api, np.float16), thin=100),
        Way("torch.load of a .pt per video", copying(loaded, np.float16), thin=100),
        Way("np.memmap of one .npy, to float32", copying(npy, np.float32)),
        Way("affcache: mapped window, to float32", copying(cache, np.float32)),
    ]


def draws(draw: np.random.Generator, order: str, videos: int, windows: int) -> np.ndarray:
    """Which windows (video, start) a turn reads."""
    if order == "random":
        starts = draw.integers(FRAMES - LENGTH, size=windows)
        return np.stack([draw.integers(videos, size=windows), starts], 1)
    each = FRAMES // LENGTH
    nth = draw.integers(videos * each) + np.arange(windows)
    return np.stack([nth // each % videos, nth % each * LENGTH], 1)


def measure(
    chosen: list[Way], order: str, videos: int, windows: int, turns: int
) -> list[list[float]]:
    """Seconds per window: a list over turns for each way."""
    draw = np.random.default_rng(1)
    seconds: list[list[float]] = [[] for _ in chosen]
    for turn in range(-1, turns):  # turn -1 warms up and is thrown away
        picks = draws(draw, order, videos, windows)
        for i in draw.permutation(len(chosen)):
            mine = picks[:: chosen[i].thin]
            gc.collect()
            began = time.perf_counter()
            chosen[i].fill(mine)
            if turn >= 0:
                seconds[i].append((time.perf_counter() - began) / len(mine))
    return seconds


def table(chosen: list[Way], seconds: list[list[float]]) -> list[dict[str, Any]]:
    """Median microseconds, and median and quartiles of the ratio to the reference."""
    rows = []
    for way, own in zip(chosen, seconds, strict=True):
        reference = seconds[6] if way.name.endswith("float32") else seconds[0]
        ratios = [a / b for a, b in zip(own, reference, strict=True)]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        rows.append(
            {
                "way": way.name,
                "us per window": round(1e6 * statistics.median(own), 2),
                "ratio": round(float(middle), 3),
                "quartiles": [round(float(low), 3), round(float(high), 3)],
            }
        )
    return rows


def main() -> None:
    """Build, measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=400, help="features in each layout")
    parser.add_argument("--turns", type=int, default=15, help="times that each way is measured")
    parser.add_argument("--windows", type=int, default=4000, help="windows in a turn")
    parser.add_argument("--record", action="store_true", help=f"keep under {RESULTS.name}/")
    chosen = parser.parse_args()
    videos = max(2, chosen.megabytes * 10**6 // (FRAMES * WIDTH * 2))
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment("numpy", "h5py", "zarr", "torch"),
        "what": f"{LENGTH} x {WIDTH} float16 windows of {videos} videos x {FRAMES} frames",
        "turns": chosen.turns,
        "windows per turn": chosen.windows,
    }
    print(json.dumps(document, indent=1))
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), videos)
        every = ways(Path(folder), videos)
        results = {
            order: table(every, measure(every, order, videos, chosen.windows, chosen.turns))
            for order in ("random", "sequential")
        }
    document["results"] = results
    for order, rows in results.items():
        print(f"{order:<38}{'us per window':>14}{'ratio':>9}   quartiles")
        for row in rows:
            low, high = row["quartiles"]
            own = f"{row['us per window']:>14.1f}{row['ratio']:>9.2f}"
            print(f"{row['way']:<38}{own}   {low} to {high}")
        ratio = rows[1]["ratio"]
        verdict = "met" if ratio <= TARGET else "MISSED"
        print(f"target: at most {TARGET} x np.memmap: {verdict} ({ratio})")
    if chosen.record:
        print(f"recorded: {record('windows', document).name}")


if __name__ == "__main__":
    main()
