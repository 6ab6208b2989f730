"""Training batches on the device: batch k is a function of (seed, k), whoever computes it and how.

Three ways lead to the same bits: windows copied from the memory maps into a buffer that is used
again and again (and, for a GPU, pinned, so that the copy to it overlaps what it computes); the same
by worker processes; or the whole cache on the device, where windows are gathered by index.

Convention: a batch is valid until the next one is asked for, whose memory may be the same.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from itertools import cycle

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from affcache.errors import RecipeError
from affcache.windows import Batch, RandomWindows
from stages.train.heads import Windows
from stages.train.resident import Resident, fits

WAYS = ("auto", "map", "device")


def stream(seed: int, iteration: int) -> int:
    """The seed of everything random in one iteration (-1: of the initial weights)."""
    digest = hashlib.blake2b(f"{seed}/{iteration}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


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
        takes milliseconds
    start_method : of the processes, "fork" or "spawn"; None is the platform's
    """
    if way == "device":
        resident = Resident(source, device)
        return (resident.gather(source.picks(k)) for k in range(first, end))
    if workers:
        loader = _loader(source, first, end, workers, start_method)
        return (on(device, windows) for windows in loader)
    if device.type == "cuda":
        slots = cycle([Pinned(source, device), Pinned(source, device)])
        return (next(slots).load(k) for k in range(first, end))
    buffer = Buffer(source)
    return (buffer.load(k, device) for k in range(first, end))


def on(device: torch.device, windows: Windows) -> Windows:
    """Windows moved to a device in their small types, then widened to float32 there."""
    moved = [tensor.to(device, non_blocking=True) for tensor in windows]
    return Windows(*(t.float() if t.is_floating_point() else t for t in moved))


class Buffer:
    """Room for one batch of the longest windows, filled again and again.

    A fresh array of this size would have its pages mapped and zeroed by the kernel at every batch,
    which takes longer than the copying.
    """

    def __init__(self, source: RandomWindows, pinned: bool = False) -> None:
        self.source = source
        rows = source.size * source.longest
        wide, targets = source.widths

        def room(width: int, dtype: torch.dtype) -> Tensor:
            return torch.empty(rows * width, dtype=dtype, pin_memory=pinned)

        self.small = room(wide, torch.float16)
        self.rest = (room(targets, torch.float32), room(targets, torch.float32))
        self.mask = room(1, torch.bool)
        self.wide = None if pinned else room(wide, torch.float32)

    def fill(self, k: int) -> Windows:
        """Batch k in its small types, where it will be overwritten by the next."""
        picks = self.source.picks(k)
        wide, targets = self.source.widths
        shape = (self.source.size, picks.length)
        windows = Windows(
            _front(self.small, *shape, wide),
            *(_front(tensor, *shape, targets) for tensor in self.rest),
            _front(self.mask, *shape),
        )
        self.source.copy(picks, Batch(*(tensor.numpy() for tensor in windows)))
        return windows

    def load(self, k: int, device: torch.device) -> Windows:
        """Batch k in float32 on a device that is not a GPU with streams."""
        windows = self.fill(k)
        if self.wide is None or device.type != "cpu":
            return on(device, windows)
        widened = _front(self.wide, *windows.features.shape)
        return windows._replace(features=widened.copy_(windows.features))


class Pinned:
    """A pinned buffer whose batch travels on a stream of its own, beside the present computation.

    Two of them take turns: while the device computes a batch, the next one is copied. Not one byte
    of the buffer is overwritten before its copy has arrived.
    """

    def __init__(self, source: RandomWindows, device: torch.device) -> None:
        self.buffer, self.device = Buffer(source, pinned=True), device
        self.side, self.arrived = torch.cuda.Stream(device), torch.cuda.Event()

    def load(self, k: int) -> Windows:
        """Batch k in float32 on the device, as far as the current stream is concerned."""
        self.arrived.synchronize()
        windows = self.buffer.fill(k)
        with torch.cuda.stream(self.side):
            windows = on(self.device, windows)
            self.arrived.record()
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.side)
        for tensor in windows:
            tensor.record_stream(current)
        return windows


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


def _front(buffer: Tensor, *shape: int) -> Tensor:
    """The front of a flat buffer in another shape, without a copy."""
    return buffer[: torch.Size(shape).numel()].view(shape)
