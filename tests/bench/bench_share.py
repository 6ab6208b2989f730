"""What it costs to pack, unpack, verify and open a cache, beside cp, sha256sum and np.memmap.

Every command is a process of its own; its wall time (from start to end, the interpreter's start
included) and its peak resident memory are the kernel's. The commands take turns, in a new order
each turn, on the same files in the page cache; a ratio is the median over turns of the reference's
time to the command's, so 1 is as fast as the reference and more is faster. cp leaves its copy in
memory, while pack and unpack wait until theirs is on the disk: "cp, then sync" is the same promise.

    python tests/bench/bench_share.py [--megabytes 600] [--turns 5] [--record]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from affcache.copying.contents import File, assembled, root_of
from affcache.copying.unpack import write_folder
from affcache.places import place
from affcache.store import Cache
from tests.bench.records import RESULTS, conclude, environment
from tests.caches import make_cache

FRAMES, WIDTH, LENGTH = 5000, 512, 70
MEMORY = 300  # MB, whatever the cache's size
AFFCACHE = [sys.executable, "-m", "affcache"]
OPEN = """
import json, sys, time
from affcache.store import Cache
began = time.perf_counter()
videos = Cache(sys.argv[1]).videos()
print(json.dumps([len(videos), time.perf_counter() - began]))
"""
LAUNCH = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print([time.perf_counter() - began, used.ru_maxrss], flush=True)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Command(NamedTuple):
    """One command that takes turns: its words, what it writes, and what it is compared with."""

    name: str
    words: list[str]
    writes: str = ""
    reference: str = ""
    bar: float = 0.0


class Cost(NamedTuple):
    """Seconds from start to end, and peak resident memory in MB."""

    seconds: float
    megabytes: float
    output: str


def build(target: Path, videos: int, frames: int) -> None:
    """A sealed cache: one video's files under many names."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        one = make_cache(Path(folder) / "one.zarr", videos=1, frames=frames, subjects=1)
        cache = Cache(one)
        files = {}
        for name in cache.place.files():
            if not name.startswith(".affcache/") and name != "zarr.json":
                file = File.made((one / name).read_bytes())
                copies = range(videos) if "/v00/" in name else (0,)
                files |= {name.replace("/v00/", f"/v{i:04d}/"): file for i in copies}
        write_folder(assembled(files, root_of(cache)), target)


def run(words: list[str]) -> Cost:
    """Run a command and let the kernel say what it took.

    A small launcher starts it: a process counts its parent's memory until it is a program of its
    own, and this one has read a cache.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", LAUNCH, *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr}")
    *output, last = done.stdout.splitlines()
    seconds, peak = json.loads(last)
    scale = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, peak * scale / 1e6, "\n".join(output))


def commands(folder: Path) -> list[Command]:
    """Everything that takes turns, references first."""
    cache, file = folder / "x.zarr", folder / "x.zarr.zip"
    copy, packed, made = folder / "copy.zarr", folder / "made.zarr.zip", folder / "made.zarr"
    hashes = f"find '{cache}' -type f -print0 | xargs -0 sha256sum > /dev/null"
    return [
        Command("cp -r", ["cp", "-r", str(cache), str(copy)], str(copy)),
        Command(
            "cp -r, then sync",
            ["sh", "-c", f"cp -r '{cache}' '{copy}' && sync -f '{copy}'"],
            str(copy),
        ),
        Command("sha256sum", ["sh", "-c", hashes]),
        Command("pack", [*AFFCACHE, "pack", str(cache), str(packed)], str(packed), "cp -r", 0.6),
        Command("unpack", [*AFFCACHE, "unpack", str(file), str(made)], str(made), "cp -r", 0.6),
        Command("verify", [*AFFCACHE, "verify", str(cache)], "", "sha256sum", 0.7),
        Command("verify a packed file", [*AFFCACHE, "verify", str(file)], "", "sha256sum", 0.7),
    ]


def take_turns(chosen: list[Command], turns: int) -> dict[str, list[Cost]]:
    """Costs of every command, a list over turns; what a command wrote is removed behind it."""
    draw = np.random.default_rng(0)
    costs: dict[str, list[Cost]] = {command.name: [] for command in chosen}
    for turn in range(-1, turns):  # turn -1 fills the page cache and is thrown away
        for i in draw.permutation(len(chosen)):
            os.sync()
            cost = run(chosen[i].words)
            if turn >= 0:
                costs[chosen[i].name].append(cost)
            if chosen[i].writes:
                written = Path(chosen[i].writes)
                shutil.rmtree(written) if written.is_dir() else written.unlink()
    return costs


def table(
    chosen: list[Command], costs: dict[str, list[Cost]], megabytes: float
) -> list[dict[str, Any]]:
    """Median seconds, rate and memory, and the ratios to the references."""
    rows = []
    for command in chosen:
        own = [cost.seconds for cost in costs[command.name]]
        row: dict[str, Any] = {
            "command": command.name,
            "seconds": round(statistics.median(own), 3),
            "MB/s": round(megabytes / statistics.median(own)),
            "peak MB": round(max(cost.megabytes for cost in costs[command.name])),
        }
        if command.reference:
            row |= {"reference": command.reference, "bar": command.bar}
            row["ratio"] = ratio(costs[command.reference], own)
            row["met"] = row["ratio"] >= command.bar and row["peak MB"] < MEMORY
            if command.reference == "cp -r":
                row["ratio to cp and sync"] = ratio(costs["cp -r, then sync"], own)
        rows.append(row)
    return rows


def ratio(reference: list[Cost], own: list[float]) -> float:
    """How many times the reference's rate, the median over turns."""
    pairs = zip(reference, own, strict=True)
    return round(statistics.median(one.seconds / mine for one, mine in pairs), 3)


def opening(path: Path, what: str, turns: int) -> dict[str, Any]:
    """Seconds to open a sealed cache of 600 videos, and the whole process's memory."""
    costs = [run([sys.executable, "-c", OPEN, str(path)]) for _ in range(turns)]
    seconds = [json.loads(cost.output)[1] for cost in costs]
    videos = json.loads(costs[0].output)[0]
    row = {
        "command": f"open {what} of {videos} videos",
        "seconds": round(statistics.median(seconds), 3),
        "peak MB": round(max(cost.megabytes for cost in costs)),
    }
    return row | {"bar": "0.3 s, 150 MB", "met": row["seconds"] <= 0.3 and row["peak MB"] <= 150}


def windows(file: Path, turns: int, count: int = 4000) -> dict[str, Any]:
    """Random windows inside a packed file beside np.memmap of one .npy of the same features."""
    features = [video.array("features") for video in Cache(file).videos()]
    npy = file.with_suffix(".npy")
    flat = np.lib.format.open_memmap(npy, "w+", np.float16, (len(features) * FRAMES, WIDTH))
    for i, own in enumerate(features):
        flat[i * FRAMES : (i + 1) * FRAMES] = own
    flat.flush()
    flat = np.load(npy, mmap_mode="r")
    draw, batch = np.random.default_rng(1), np.empty((16, LENGTH, WIDTH), np.float16)
    ratios = []
    for turn in range(-1, 3 * turns):
        videos = draw.integers(len(features), size=count).tolist()
        starts = draw.integers(FRAMES - LENGTH, size=count).tolist()
        took = {}
        for way in draw.permutation(["npy", "zip"]):
            began = time.perf_counter()
            for row, (video, start) in enumerate(zip(videos, starts, strict=True)):
                if way == "npy":
                    at = video * FRAMES + start
                    batch[row % 16] = flat[at : at + LENGTH]
                else:
                    batch[row % 16] = features[video][start : start + LENGTH]
            took[str(way)] = time.perf_counter() - began
        if turn >= 0:
            ratios.append(took["zip"] / took["npy"])
    npy.unlink()
    middle = round(statistics.median(ratios), 3)
    return {"command": "windows inside a zip", "ratio": middle, "bar": 1.15, "met": middle <= 1.15}


def main() -> None:
    """Build, measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=600, help="of the cache")
    parser.add_argument("--turns", type=int, default=5, help="times that each is measured")
    parser.add_argument("--record", action="store_true", help=f"keep under {RESULTS.name}/")
    asked = parser.parse_args()
    around = environment("numpy", "google-crc32c") | {"openssl": ssl.OPENSSL_VERSION}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder / "x.zarr", max(2, asked.megabytes * 10**6 // (FRAMES * WIDTH * 2)), FRAMES)
        build(folder / "many.zarr", 600, 50)
        for name in ("x", "many"):
            run([*AFFCACHE, "pack", str(folder / f"{name}.zarr"), str(folder / f"{name}.zarr.zip")])
        where = place(folder / "x.zarr")
        megabytes = sum(map(where.size, where.files())) / 1e6
        chosen = commands(folder)
        rows = table(chosen, take_turns(chosen, asked.turns), megabytes)
        for what, name in (("a folder", "many.zarr"), ("a packed file", "many.zarr.zip")):
            rows.append(opening(folder / name, what, asked.turns))
        rows.append(windows(folder / "x.zarr.zip", asked.turns))
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": around,
        "what": f"a cache of {megabytes:.0f} MB, videos of {FRAMES} frames; {asked.turns} turns",
        "results": rows,
    }
    conclude("share", document, asked.record)


if __name__ == "__main__":
    main()
