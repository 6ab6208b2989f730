"""Who extracts: this process alone, or several spawned ones that take videos one after another.

Small networks on a CPU do not scale with threads; processes do. A worker that dies costs the video
it had, and is replaced.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from affcache import publish
from stages.extract.job import Job, Outcome, Settings, Tell
from stages.extract.processes import cause_of_death, follow_parent, spawn, stop

Finish = Callable[[Outcome], None]


def run_here(jobs: Iterable[Job], settings: Settings, tell: Tell, finish: Finish) -> None:
    """Extract in this process, one video after another."""
    from stages.extract.video import Models, extract_video

    models = Models(settings)
    try:
        for job in jobs:
            finish(extract_video(job, settings, models, tell))
    finally:
        models.decoder.close()


def run_pool(
    jobs: Iterable[Job], settings: Settings, workers: int, tell: Tell, finish: Finish
) -> None:
    """Extract in several processes; `tell` and `finish` are called in this one."""
    waiting = deque(jobs)
    busy: dict[Connection, tuple[SpawnProcess, Job]] = {}
    try:
        for _ in range(min(workers, len(waiting))):
            _hire(busy, waiting.popleft(), settings)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                process, job = busy[pipe]
                outcome = _news(pipe, process, job, settings, tell)
                if outcome is None:
                    continue
                finish(outcome)
                del busy[pipe]
                _go_on(busy, waiting, pipe, process, settings)
    finally:
        for pipe, (process, _) in busy.items():
            stop(process, pipe)


def _hire(busy: dict[Connection, tuple[SpawnProcess, Job]], job: Job, settings: Settings) -> None:
    process, pipe = spawn(_work, settings, daemon=False)
    busy[pipe] = (process, job)
    _give(pipe, job)


def _give(pipe: Connection, job: Job) -> None:
    # A worker that has gone says so when its news are read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(job)


def _go_on(
    busy: dict[Connection, tuple[SpawnProcess, Job]],
    waiting: deque[Job],
    pipe: Connection,
    process: SpawnProcess,
    settings: Settings,
) -> None:
    """Give a free worker the next video, or its leave; a dead one is replaced."""
    if not waiting:
        stop(process, pipe)
    elif process.is_alive():
        busy[pipe] = (process, waiting.popleft())
        _give(pipe, busy[pipe][1])
    else:
        pipe.close()
        _hire(busy, waiting.popleft(), settings)


def _news(
    pipe: Connection, process: SpawnProcess, job: Job, settings: Settings, tell: Tell
) -> Outcome | None:
    """The outcome that a worker reports, or None after a mere count of frames."""
    try:
        message = pipe.recv()
    except (EOFError, ConnectionResetError):
        reason = f"{job.path}: the worker that extracted it died ({cause_of_death(process)})"
        publish.quarantine(settings.cache, job.id, job.source, reason)
        return Outcome(id=job.id, status="failed", reason=reason)
    if isinstance(message, Outcome):
        return message
    tell(message)
    return None


def _work(pipe: Connection, settings: Settings) -> None:
    """A worker: load the networks once, then extract what is sent until the pipe closes."""
    follow_parent()
    from stages.extract.video import Models, extract_video

    models = Models(settings)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(extract_video(job, settings, models, pipe.send))
