"""Workers that are lost before they have said anything."""

import multiprocessing
import signal
from pathlib import Path

import pytest

from stages.extract import workers
from stages.extract.job import Job, Outcome, Settings


class Gone:
    """A process that somebody killed while it started."""

    exitcode = -signal.SIGKILL

    def is_alive(self) -> bool:
        return False

    def kill(self) -> None:
        """Nothing is left to kill."""

    def join(self, timeout: float | None = None) -> None:
        """It has ended."""


def test_a_worker_killed_before_its_first_video_costs_that_video_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*arguments: object, daemon: bool) -> tuple[Gone, object]:
        ours, theirs = multiprocessing.Pipe()
        theirs.close()
        return Gone(), ours

    monkeypatch.setattr(workers, "spawn", spawn)
    settings = Settings(
        cache=tmp_path,
        backbone="mini-xception",
        weights=tmp_path,
        device="cpu",
        batch=1,
        fields={},
        force=False,
    )
    jobs = [Job(id=i, path=tmp_path / i, source=i, face="largest") for i in ("a", "b")]
    outcomes: list[Outcome] = []
    workers.run_pool(jobs, settings, 1, lambda frames: None, outcomes.append)
    assert [(o.id, o.status) for o in outcomes] == [("a", "failed"), ("b", "failed")]
    assert "died (killed by SIGKILL, as when memory runs out)" in outcomes[0].reason
