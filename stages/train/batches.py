"""Training batches as tensors: batch k is a function of (seed, k), whoever computes it and where.

So workers change nothing but the speed, and a run that stopped after batch k goes on with k + 1.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from affcache.windows import Batch, RandomWindows
from stages.train.heads import Windows


def stream(seed: int, iteration: int) -> int:
    """The seed of everything random in one iteration (-1: of the initial weights)."""
    digest = hashlib.blake2b(f"{seed}/{iteration}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def batches(
    source: RandomWindows, first: int, end: int, workers: int, start_method: str | None = None
) -> Iterator[Windows]:
    """Batches first, ..., end - 1 on the CPU, in order, computed here or in worker processes.

    Parameters
    ----------
    source : what computes a batch
    workers : processes; 0 computes in this one, which is enough where a step takes milliseconds
    start_method : of the processes, "fork" or "spawn"; None is the platform's
    """
    loader = DataLoader(
        _Numbered(source, end),
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        multiprocessing_context=start_method if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_ctrl_c_to_the_trainer,
    )
    return iter(loader) if workers else (_tensors(source.batch(k)) for k in range(first, end))


def on(device: torch.device, windows: Windows) -> Windows:
    """Windows moved to a device in their small types, then widened to float32 there."""
    moved = [tensor.to(device, non_blocking=True) for tensor in windows]
    return Windows(*(t.float() if t.is_floating_point() else t for t in moved))


class _Numbered(Dataset[Windows]):
    """A DataLoader's view of the source: item k is batch k."""

    def __init__(self, source: RandomWindows, end: int) -> None:
        self.source, self.end = source, end

    def __len__(self) -> int:
        return self.end

    def __getitem__(self, k: int) -> Windows:
        return _tensors(self.source.batch(k))


def _leave_ctrl_c_to_the_trainer(worker: int) -> None:
    """A terminal interrupts the whole process group; a worker that died would spoil the ending."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tensors(batch: Batch) -> Windows:
    return Windows(*(torch.from_numpy(array) for array in batch))
