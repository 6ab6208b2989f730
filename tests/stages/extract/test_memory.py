"""Memory stays flat however long the video."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.extract.films import film

ROOT = Path(__file__).parents[3]
# Peak resident memory of the process that detects, embeds and writes, after one video.
PROGRAM = """
import resource, sys
from pathlib import Path
from stages.extract.pipeline import extract, from_files
extract(from_files([Path(sys.argv[1])]), Path(sys.argv[2]), device="cpu", workers=1)
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(own, child)
"""


def peaks(video: Path, out: Path) -> list[int]:
    """Peak KiB of the process itself and of its largest child, the decoder."""
    words = [sys.executable, "-c", PROGRAM, str(video), str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_a_video_ten_times_as_long_takes_no_more_memory(
    tmp_path: Path, mini_xception_weights: Path
) -> None:
    short = peaks(film(tmp_path / "short.mp4", 400), tmp_path / "short.zarr")
    long = peaks(film(tmp_path / "long.mp4", 4000), tmp_path / "long.zarr")
    # Features of 3,600 more frames alone are 3.6 MiB, their pixels 32 MiB.
    assert long[0] - short[0] < 24 * 1024, (short, long)
    assert long[1] - short[1] < 24 * 1024, (short, long)
