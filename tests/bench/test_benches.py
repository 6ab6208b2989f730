"""Every bench, in small: it runs on what the rest of the code is today. Nothing here is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SMALL = {
    "bench_windows.py": ["--megabytes", "10", "--turns", "2", "--windows", "8"],
    "bench_share.py": ["--megabytes", "20", "--turns", "1"],
    "bench_push.py": ["--megabytes", "20", "--turns", "1"],
    "bench_kalman.py": ["--steps", "40", "--turns", "1"],
    "bench_train.py": ["--turns", "1"],
    "bench_extract.py": ["--frames", "8"],
    "bench_demo_people.py": ["--help"],  # needs the demo's cache; test_demo_people.py runs it
}


def test_every_bench_has_a_small_run() -> None:
    assert {path.name for path in HERE.glob("bench_*.py")} == SMALL.keys()


@pytest.mark.slow
@pytest.mark.parametrize("bench", SMALL)
def test_a_bench_runs_to_its_end(bench: str) -> None:
    done = subprocess.run(
        [sys.executable, HERE / bench, *SMALL[bench]],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
