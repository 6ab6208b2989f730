"""A few threads for work that hashes, reads and writes: all of that runs beside Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 8
BATCH_BYTES, BATCH_FILES = 1 << 22, 64


def threads() -> int:
    """As many as this process may use processors, within reason."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(there or 1, MOST_THREADS)


def spread_files(
    work: Callable[[T], R], items: Iterable[T], size: Callable[[T], int]
) -> Iterator[R]:
    """`spread` for files of very different sizes: small ones go to a thread by the dozen."""
    for done in spread(lambda batch: [work(item) for item in batch], _batches(items, size)):
        yield from done


def _batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    held = 0
    for item in items:
        batch.append(item)
        held += size(item)
        if held >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def spread(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map`, but a few at a time; results come in order, and the first error ends it all."""
    waiting = iter(items)
    with ThreadPoolExecutor(threads()) as pool:
        running: deque[Future[R]] = deque()
        try:
            for item in islice(waiting, 4 * threads()):
                running.append(pool.submit(work, item))
            while running:
                done = running.popleft().result()
                for item in islice(waiting, 1):
                    running.append(pool.submit(work, item))
                yield done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
