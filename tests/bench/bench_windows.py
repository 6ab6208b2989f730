"""How fast a window comes out of a cache, beside other ways to keep the same features.

Windows of 70 x 512 float16 from many videos are copied into a batch, at random and one after the
other. A way and its reference, np.memmap on one .npy with all videos, read the same windows one
right behind the other, either first by chance; a ratio is the median over many such short turns.
Files are in the page cache (a pass over all data comes first), so this compares software, not
disks; and with nothing to wait for, the processor's time is the time, less what others take of it.

All copy into a batch that begins at a multiple of 64 bytes, as torch's tensors and the batches of
`RandomWindows` do, but those "into a page's 16th byte", where np.empty puts large arrays.

    python tests/bench/bench_windows.py [--megabytes 400] [--turns 200] [--record]
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
PAGE, TARGET = 4096, 1.15
Read = Callable[[int, int], np.ndarray]


class Way(NamedTuple):
    """A way to read: `fill(picks)` copies those windows.

    Only every `thin`-th pick is timed; `beside` is the place of the way it is compared with.
    """

    name: str
    fill: Callable[[np.ndarray], None]
    thin: int = 1
    beside: int = 0


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


def copying(read: Read, dtype: type = np.float16, shift: int = 0) -> Callable[[np.ndarray], None]:
    """Copy windows (video, start) into a batch that begins `shift` bytes into a page."""
    length = BATCH * LENGTH * WIDTH * np.dtype(dtype).itemsize
    raw = np.empty(length + 2 * PAGE, np.uint8)
    first = -raw.ctypes.data % PAGE + shift
    batch = raw[first : first + length].view(dtype).reshape(BATCH, LENGTH, WIDTH)

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
        Way("np.memmap of one .npy", copying(npy)),
        Way("affcache: mapped window", copying(cache)),
        Way("affcache: RandomWindows.batch", whole_batches),
        Way("h5py contiguous", copying(hdf5)),
        Way("zarr API", copying(api), thin=20),
        Way("torch.load of a .pt per video", copying(loaded), thin=20),
        Way("np.memmap, to float32", copying(npy, np.float32)),
        Way("affcache: mapped window, to float32", copying(cache, np.float32), beside=6),
        Way("np.memmap, into a page's 16th byte", copying(npy, shift=16)),
        Way("affcache: into a page's 16th byte", copying(cache, shift=16), beside=8),
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
) -> list[list[tuple[float, float]]]:
    """Seconds per window of each way and of what it is beside: a list over turns for each way."""
    draw = np.random.default_rng(1)
    pairs: list[list[tuple[float, float]]] = [[] for _ in chosen]
    for way in chosen:  # warms up
        way.fill(draws(draw, order, videos, videos * FRAMES // LENGTH)[:: way.thin])
    gc.collect()
    gc.disable()
    for _ in range(turns):
        for i in draw.permutation(len(chosen)):
            picks, took = draws(draw, order, videos, windows), {}
            for j in draw.permutation([i, chosen[i].beside]):
                mine = picks[:: chosen[j].thin]
                began = time.process_time()
                chosen[j].fill(mine)
                took[j] = (time.process_time() - began) / len(mine)
            pairs[i].append((took[i], took[chosen[i].beside]))
    gc.enable()
    return pairs


def table(chosen: list[Way], pairs: list[list[tuple[float, float]]]) -> list[dict[str, Any]]:
    """Median microseconds, and median and quartiles of the ratio to what a way is beside."""
    rows = []
    for way, own in zip(chosen, pairs, strict=True):
        low, middle, high = np.percentile([a / b for a, b in own], [25, 50, 75])
        rows.append(
            {
                "way": way.name,
                "beside": chosen[way.beside].name,
                "us per window": round(1e6 * statistics.median(a for a, _ in own), 2),
                "ratio": round(float(middle), 3),
                "quartiles": [round(float(low), 3), round(float(high), 3)],
            }
        )
    return rows


def main() -> None:
    """Build, measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=400, help="features in each layout")
    parser.add_argument("--turns", type=int, default=200, help="times that each way is measured")
    parser.add_argument("--windows", type=int, default=160, help="windows in a turn")
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
