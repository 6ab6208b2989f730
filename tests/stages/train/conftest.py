"""A small simulated cache, made once, and the command line in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from affcache.cli import main
from tests.stages.train.simulated import simulate

QUICK = ("training.epochs=3", "training.iterations=12", "windows.batch=4", "model.width=16")


class Outcome(NamedTuple):
    """What a command left behind: exit status, stdout, stderr."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen people of 150 frames with 32 features each; labelled, split by person."""
    return simulate(tmp_path_factory.mktemp("caches") / "sim.zarr", people=(10, 3, 3))


@pytest.fixture
def affcache(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command and say what came of it."""

    def run(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        assert isinstance(end.value.code, int)
        return Outcome(end.value.code, *capsys.readouterr())

    return run


def quick(*more: str) -> list[str]:
    """`--set` options for a run of seconds."""
    return [word for change in (*QUICK, *more) for word in ("--set", change)]


@pytest.fixture
def trained(cache: Path, tmp_path: Path, affcache: Callable[..., Outcome]) -> Path:
    """A run folder, quickly trained."""
    folder = tmp_path / "run"
    done = affcache("train", "--cache", cache, "--out", folder, *quick())
    assert done.status == 0, done.err
    return folder
