"""Q from disk: a cache with quadrants of its own needs no pseudo-labels, one without does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.publish import VideoWriter, create, video_fingerprint
from affcache.schema import ArraySpec
from affcache.store import seal, write_labels
from stages.train.run import open_run
from tests.caches import FIELDS, make_cache
from tests.stages.train.conftest import Outcome

Command = Callable[..., Outcome]
QUADRANT = ArraySpec(dims=("frame", "quadrant"), dtype="float16", sizes=(4,), meaning="simulated")
SHORT = ("training.epochs=1", "training.iterations=2", "windows.batch=4", "model.encoding=6")


@pytest.fixture
def with_quadrants(tmp_path: Path) -> Path:
    """Three people whose quadrants are a stream of the extraction, and no pseudo-labels."""
    path, draw = tmp_path / "quadrants.zarr", np.random.default_rng(0)
    create(path, "simulated", FIELDS, {"made by": "tests"})
    for number, split in enumerate(("train", "validation", "test")):
        name, va = f"v{number}", draw.uniform(-1, 1, (80, 2)).astype(np.float32)
        which = (va[:, 0] < 0) + 2 * (va[:, 1] < 0)
        with VideoWriter(path, name, {"quadrant": QUADRANT}) as writer:
            writer.append(
                {
                    "features": draw.normal(size=(80, 8)),
                    "quadrant": np.eye(4)[which],
                    "valid": np.ones(80, bool),
                    "time": np.arange(80) / 25,
                }
            )
            writer.publish(
                {
                    "fps": 25.0,
                    "source": f"{name}.mp4",
                    "source_sha256": name,
                    "face": "largest",
                    "fingerprint": video_fingerprint(FIELDS, "largest", name),
                }
            )
        write_labels(path, name, {"va": va}, {"subject": name, "split": {"va": split}})
    seal(path)
    return path


def words(cache: Path, out: Path) -> list[str]:
    changes = [word for change in SHORT for word in ("--set", change)]
    return ["train", "--cache", str(cache), "--head", "anclaf-s", "--out", str(out), *changes]


def test_a_caches_own_quadrants_are_read_and_stand_in_for_pseudo_labels(
    with_quadrants: Path, tmp_path: Path, affcache: Command
) -> None:
    done = affcache(*words(with_quadrants, tmp_path / "run"))
    assert done.status == 0, done.err
    assert "no pseudo-labels" in done.err
    run = open_run(tmp_path / "run")
    assert run.sizes.streams == {"features": 8, "quadrant": 4}
    assert run.new_head().get_parameter("encoder.weight").shape == (6, 12)
    assert affcache("evaluate", tmp_path / "run").status == 0


def test_without_either_the_message_says_how_to_make_pseudo_labels(
    tmp_path: Path, affcache: Command
) -> None:
    cache = make_cache(tmp_path / "bare.zarr", videos=3, subjects=3, width=8, pseudo_va=False)
    done = affcache(*words(cache, tmp_path / "run"))
    assert done.status == 2
    assert "no va pseudo-labels" in done.err
    assert "affcache readout" in done.err
