"""Training batches on the device: batch k is a function of (seed, k), whoever computes it and how.

Three ways lead to the same bits: windows copied from the memory maps into a buffer that is used
again and again (and, for a GPU, pinned, so that the copy to it overlaps what it computes); the same
by worker processes; or the whole cache on the device, where windows are gathered by index.

Convention: a batch is valid until the next one is asked for, whose memory may be the same.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from itertools import cycle

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from affcache.errors import RecipeError
from affcache.windows import Picks, RandomWindows
from stages.train.device import on
from stages.train.heads import Windows
from stages.train.training.resident import Drawn, Resident, Tables, fits

AT_ONCE = 16  # batches whose windows are drawn together


def choose_way(data: str, source: RandomWindows, device: torch.device, workers: int) -> str:
    """The way behind "auto": the device where it is a GPU with room for the cache, else the maps.

    Raises
    ------
    RecipeError
        If workers are asked for where there is nothing for them to do.
    """
    if data == "device" and workers:
        raise RecipeError(
            f"--workers {workers}: with --data device no process prepares batches; leave one away"
        )
    if data == "auto":
        return "device" if not workers and fits(source, device) else "map"
    return data


def batches(
    source: RandomWindows,
    first: int,
    end: int,
    device: torch.device,
    way: str = "map",
    workers: int = 0,
    start_method: str | None = None,
) -> Iterator[Windows]:
    """Batches first, ..., end - 1 on the device, features widened to float32 there, in order.

    Parameters
    ----------
    source : what computes a batch
    way : "map" or "device", see `choose_way`
    workers : processes that read the maps; 0 reads in this one, which is enough where a step
        takes milliseconds, and so does a process that may have none, such as a dask worker
    start_method : of the processes, "fork" or "spawn"; None is the platform's
    """
    if way == "map" and workers and not multiprocessing.current_process().daemon:
        loader = _loader(source, first, end, workers, start_method)
        return (on(device, windows) for windows in loader)
    features: Resident | Mapped | Pinned
    if way == "device":
        features = Resident(source, device)
    elif device.type == "cuda":
        features = Pinned(source, device)
    else:
        features = Mapped(source, device)
    return (
        Windows(features.features_of(drawn), *drawn.rest)
        for drawn in _drawn(Tables(source, device), first, end)
    )


def _drawn(tables: Tables, first: int, end: int) -> Iterator[Drawn]:
    for start in range(first, end, AT_ONCE):
        yield from tables.draw(range(start, min(start + AT_ONCE, end)))


class Mapped:
    """Features from the memory maps, widened on their way into one buffer that is used again.

    A fresh array of this size would have its pages mapped and zeroed by the kernel at every batch,
    which takes longer than the copying.
    """

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        self.buffer, self.device = Buffer(source, torch.float32, pinned=False), device

    def features_of(self, drawn: Drawn) -> Tensor:
        """The features of a batch's windows (B, L, D) float32."""
        return self.buffer.fill(drawn.picks).to(self.device)


class Pinned:
    """Features from the memory maps through pinned memory to a GPU, beside what it computes.

    Two buffers take turns, and copies have a stream of their own: while the device computes one
    batch, the next is on its way. No buffer is overwritten before its copy has arrived.
    """

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        self.device = device
        self.side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.slots = cycle([Slot(source), Slot(source)])

    def features_of(self, drawn: Drawn) -> Tensor:
        """The features of a batch's windows (B, L, D) float32, for the current stream to use."""
        slot = next(self.slots)
        slot.arrived.synchronize()
        narrow = slot.buffer.fill(drawn.picks)
        with torch.cuda.stream(self.side):
            features = narrow.to(self.device, non_blocking=True).float()
            slot.arrived.record()
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.side)
        features.record_stream(current)
        return features


class Slot:
    """A pinned buffer, and whether what was last copied out of it has arrived."""

    def __init__(self, source: RandomWindows) -> None:
        self.buffer = Buffer(source, torch.float16, pinned=True)
        self.arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]


class Buffer:
    """Room for the features of one batch of the longest windows, on the host."""

    def __init__(self, source: RandomWindows, dtype: torch.dtype, pinned: bool) -> None:
        self.maps = [[_readable(stream) for stream in s.streams] for s in source.sequences]
        self.size, (self.wide, _) = source.size, source.widths
        self.room = torch.empty(
            self.size * source.longest * self.wide, dtype=dtype, pin_memory=pinned
        )

    def fill(self, picks: Picks) -> Tensor:
        """Windows (B, L, D) from the maps, where the next batch will overwrite them."""
        length = picks.length
        batch = self.room[: self.size * length * self.wide].view(self.size, length, self.wide)
        for out, video, start in zip(batch.unbind(0), picks.videos, picks.starts, strict=True):
            first = 0
            for stream in self.maps[video]:
                columns = out.narrow(1, first, stream.shape[1])
                columns.copy_(stream.narrow(0, start, length))
                first += stream.shape[1]
        return batch


class _Numbered(Dataset[Windows]):
    """A DataLoader's view of the source: item k is batch k."""

    def __init__(self, source: RandomWindows, end: int) -> None:
        self.source, self.end = source, end

    def __len__(self) -> int:
        return self.end

    def __getitem__(self, k: int) -> Windows:
        return Windows(*(torch.from_numpy(array) for array in self.source.batch(k)))


def _loader(
    source: RandomWindows, first: int, end: int, workers: int, start_method: str | None
) -> DataLoader[Windows]:
    return DataLoader(
        _Numbered(source, end),
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        multiprocessing_context=start_method,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_ctrl_c_to_the_trainer,
    )


def _leave_ctrl_c_to_the_trainer(worker: int) -> None:
    """A terminal interrupts the whole process group; a worker that died would spoil the ending."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _readable(rows: np.ndarray) -> Tensor:
    """A tensor over a read-only map; torch warns that it could be written to, which nobody does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(rows)
