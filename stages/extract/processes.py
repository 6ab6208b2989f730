"""Processes that live no longer than who started them, and leave Ctrl-C to that one.

Children are spawned, never forked: a decoder or a CUDA context must not be inherited half-alive.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any


def spawn(
    target: Callable[..., None], *arguments: Any, daemon: bool
) -> tuple[SpawnProcess, Connection]:
    """Start `target(pipe, *arguments)` in a fresh interpreter; the other end of its pipe is ours.

    Parameters
    ----------
    target : a module-level function, which should call `follow_parent` first
    daemon : whether the child needs no children of its own and may be ended at our exit
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=True)
    process = context.Process(target=target, args=(theirs, *arguments), daemon=daemon)
    with _deaf_to_interrupts():
        process.start()
    theirs.close()
    return process, ours


def follow_parent() -> None:
    """In a child: end with the parent, however the parent ends, so that no claim outlives a run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def stop(process: SpawnProcess, pipe: Connection) -> None:
    """End a child now and wait until it is gone."""
    pipe.close()
    process.kill()
    process.join()


def cause_of_death(process: SpawnProcess) -> str:
    """How a child that hung up ended: a signal's name or an exit status."""
    process.join(5.0)
    code = process.exitcode
    if code is not None and code < 0:
        hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    return f"exit status {code}"


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """An ignored SIGINT is inherited: a child started in here leaves Ctrl-C to its parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
