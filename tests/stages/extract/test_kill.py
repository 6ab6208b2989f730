"""Killed at any moment and started again, a run gives the cache of an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from affcache.store import Cache
from affcache.verify import verify
from tests.stages.extract.conftest import contents
from tests.stages.extract.films import film

ROOT = Path(__file__).parents[3]


def command(out: Path, videos: list[Path], workers: int) -> list[str]:
    words = [sys.executable, "-m", "affcache", "extract", "--out", str(out), "--device", "cpu"]
    named = [word for video in videos for word in ("--video", str(video))]
    return [*words, "--json", "--workers", str(workers), *named]


def start(words: list[str]) -> subprocess.Popen[str]:
    # whoever ignores Ctrl-C, as what runs in a shell's background does, hands that down
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.01)


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first row": lambda out: (out / "zarr.json").exists(),
    "amid the first video": lambda out: any(
        chunk.stat().st_size for chunk in (out / ".affcache").glob("partial/*/features/c/0/0")
    ),
    "after the first video": lambda out: any((out / "videos").glob("*/zarr.json")),
}


@pytest.mark.parametrize(
    ("moment", "signal_name"),
    [*((moment, "SIGKILL") for moment in MOMENTS), ("amid the first video", "SIGINT")],
)
def test_a_run_that_is_stopped_and_restarted_gives_the_same_cache(
    moment: str,
    signal_name: str,
    short_clips: list[Path],
    clips_run: tuple[Path, object],
    tmp_path: Path,
) -> None:
    out, workers = tmp_path / "x.zarr", 2 if moment == "amid the first video" else 1
    words = command(out, short_clips, workers)
    with start(words) as process:
        wait_for(lambda: MOMENTS[moment](out), process)
        assert process.poll() is None, "it was to be stopped before it ended"
        os.kill(process.pid, getattr(signal, signal_name))
        _, error = process.communicate(timeout=60)
    if signal_name == "SIGINT":
        assert process.returncode == 130, error
        assert "Traceback" not in error
    assert len(Cache(out).video_ids()) < 2
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["failed"] == 0
    whole, again = contents(clips_run[0]), contents(out)
    assert len(again) == 2 * 8
    assert again == {name: whole[name] for name in again}
    assert verify(out) == []


def test_the_exit_status_and_the_tables_tell_of_failures(tmp_path: Path) -> None:
    good, bad = film(tmp_path / "good.mp4", 5), tmp_path / "bad.mp4"
    bad.write_text("text")
    words = command(tmp_path / "x.zarr", [bad, good], 2)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["done"], told["failed"], told["frames"]) == (1, 1, 5)
    assert told["failures"][0]["video"] == "bad"
    assert "on cpu in 2 processes" in done.stderr
    words.remove("--json")
    table = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert table.returncode == 1
    assert "is truncated, damaged or no video" in " ".join(table.stdout.split())


def test_neither_manifest_nor_video_is_a_usage_error(tmp_path: Path) -> None:
    words = command(tmp_path / "x.zarr", [], 1)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give either --manifest or --video" in done.stderr
