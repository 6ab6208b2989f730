"""What it costs to push a cache to a folder and to pull it from there, beside cp -r.

Measured as in bench_share: processes of their own, the kernel's time and peak memory, turns in a
new order each time, the ratio of cp's time to the command's. Push reads back and hashes every byte
that it wrote; pull hashes every byte and forces it to the disk. cp does neither.

    python tests/bench/bench_push.py [--megabytes 600] [--turns 5] [--record]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from affcache.places import place
from tests.bench import bench_share as bench
from tests.bench.records import conclude, environment


def commands(folder: Path) -> list[bench.Command]:
    """Everything that takes turns, references first."""
    cache, copy, there = folder / "x.zarr", folder / "copy.zarr", folder / "there.zarr"
    sync = f"cp -r '{cache}' '{copy}' && sync -f '{copy}'"
    push = [*bench.AFFCACHE, "push", str(cache), f"file://{there}"]
    pull = [*bench.AFFCACHE, "pull", f"file://{cache}", str(there)]
    again = [*bench.AFFCACHE, "push", str(cache), f"file://{folder / 'pushed.zarr'}"]
    return [
        bench.Command("cp -r", ["cp", "-r", str(cache), str(copy)], str(copy)),
        bench.Command("cp -r, then sync", ["sh", "-c", sync], str(copy)),
        bench.Command("push to a folder", push, str(there), "cp -r", 0.6),
        bench.Command("pull from a folder", pull, str(there), "cp -r, then sync"),
        bench.Command("push again, unchanged", again),
    ]


def main() -> None:
    """Build, measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=600, help="of the cache")
    parser.add_argument("--turns", type=int, default=5, help="times that each is measured")
    parser.add_argument("--record", action="store_true", help="keep under results/")
    asked = parser.parse_args()
    around = environment("numpy", "google-crc32c")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        videos = max(2, asked.megabytes * 10**6 // (bench.FRAMES * bench.WIDTH * 2))
        bench.build(folder / "x.zarr", videos, bench.FRAMES)
        bench.run([*bench.AFFCACHE, "push", str(folder / "x.zarr"), str(folder / "pushed.zarr")])
        where = place(folder / "x.zarr")
        megabytes = sum(map(where.size, where.files())) / 1e6
        chosen = commands(folder)
        rows = bench.table(chosen, bench.take_turns(chosen, asked.turns), megabytes)
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": around,
        "what": f"a cache of {megabytes:.0f} MB, {videos} videos; {asked.turns} turns",
        "results": rows,
    }
    conclude("push", document, asked.record)


if __name__ == "__main__":
    main()
