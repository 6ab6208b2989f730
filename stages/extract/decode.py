"""Decoding in a child process that may crash or hang without taking the run with it.

The child writes batches of frames into slots of shared memory while the parent works on earlier
ones. The memory is an unnamed file that both map: nothing is left behind, however either ends.
"""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from affcache.errors import VideoError
from stages.extract.processes import cause_of_death, follow_parent, spawn, stop
from stages.extract.reader import Clip, Reader, check_file, explain

SLOTS = 3
SLOT_BYTES = 48 << 20
PATIENCE_SECONDS = 120.0


class Batch(NamedTuple):
    """Consecutive frames.

    start : index of the first; frames : (n, height, width, 3) uint8 RGB, a view that holds until
    the next batch is asked for; time : (n,) float64 seconds; seconds : what decoding them took.
    """

    start: int
    frames: np.ndarray
    time: np.ndarray
    seconds: float


class _Failure(NamedTuple):
    reason: str


class Decoder:
    """Opens one video after another in one child process, which is replaced when it is lost.

    Parameters
    ----------
    batch : frames per batch, fewer where they would not fit a slot
    slot_bytes : size of a slot; a single frame always fits
    patience : seconds after which a silent child counts as hanging
    reader : "module:class" of the `Reader`, which only the child imports
    """

    def __init__(
        self,
        *,
        batch: int = 32,
        slot_bytes: int = SLOT_BYTES,
        patience: float = PATIENCE_SECONDS,
        reader: str = "stages.extract.reader:DecordReader",
    ) -> None:
        self.batch, self.slot_bytes = batch, slot_bytes
        self.patience, self.reader = patience, reader
        self._child: tuple[SpawnProcess, Connection] | None = None
        self._memory: mmap.mmap | None = None

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[tuple[Clip, Iterator[Batch]]]:
        """What is known of a video, and its batches; leaving early costs the child its life.

        Raises
        ------
        VideoError
            Here or from the batches: one line that names the file and what is wrong with it.
        """
        self._path = path
        self._tell(str(path))
        clip = self._hear()
        whole = [False]
        try:
            yield clip, self._batches(clip, whole)
        finally:
            if not whole[0]:
                self.close()

    def close(self) -> None:
        """End the child; the next `open` starts another."""
        if self._child is not None:
            stop(*self._child)
        self._child = self._memory = None

    def _batches(self, clip: Clip, whole: list[bool]) -> Iterator[Batch]:
        count = max(1, min(self.batch, self.slot_bytes // clip.frame_bytes))
        slot_bytes = max(self.slot_bytes, clip.frame_bytes)
        memory = self._share(SLOTS * slot_bytes)
        self._tell((count, slot_bytes))
        for slot in range(SLOTS):
            self._tell(slot)
        while (message := self._hear()) is not None:
            slot, start, frames, seconds_of, seconds = message
            shape = (frames, clip.height, clip.width, 3)
            view = np.frombuffer(
                memory, np.uint8, frames * clip.frame_bytes, slot * slot_bytes
            ).reshape(shape)
            yield Batch(start, view, seconds_of, seconds)
            self._tell(slot)
        whole[0] = True

    def _share(self, size: int) -> mmap.mmap:
        """Tell the child which memory to use: what both have, or a larger one."""
        if self._memory is not None and len(self._memory) >= size:
            self._tell(None)
            return self._memory
        self._tell(size)
        assert self._child is not None
        process, pipe = self._child
        with _unnamed_file(size) as descriptor:
            assert process.pid is not None
            reduction.send_handle(pipe, descriptor, process.pid)
            self._memory = mmap.mmap(descriptor, size)
        return self._memory

    def _tell(self, message: Any) -> None:
        if self._child is None:
            self._child = spawn(_serve, self.reader, daemon=True)
            self._memory = None
        # A child that has gone says so at the next `_hear`.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._child[1].send(message)

    def _hear(self) -> Any:
        assert self._child is not None
        process, pipe = self._child
        try:
            if not pipe.poll(self.patience):
                self.close()
                raise VideoError(
                    f"{self._path}: the decoder gave no answer for {self.patience:g} s and was "
                    "replaced; the file is damaged or its disk hangs"
                )
            message = pipe.recv()
        except (EOFError, ConnectionResetError):
            cause = cause_of_death(process)
            self.close()
            raise VideoError(
                f"{self._path}: the decoder crashed ({cause}) and was replaced; "
                "the file may be damaged"
            ) from None
        if isinstance(message, _Failure):
            raise VideoError(f"{self._path}: {message.reason}")
        return message


@contextlib.contextmanager
def _unnamed_file(size: int) -> Iterator[int]:
    """A descriptor of memory without a name: no limit of /dev/shm, no leak after a kill."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("affcache-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
        yield descriptor
    finally:
        os.close(descriptor)


def _serve(pipe: Connection, target: str) -> None:
    """The child: open what it is told, fill the slots it is given, until the parent hangs up."""
    follow_parent()
    log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as the child
    os.dup2(log.fileno(), 2)
    module, name = target.split(":")
    make = getattr(importlib.import_module(module), name)
    memory: mmap.mmap | None = None
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        while True:
            path = pipe.recv()
            _drain(log)
            try:
                check_file(Path(path))
                reader: Reader = make(path)
                pipe.send(reader.clip)
                memory = _receive_memory(pipe) or memory
                assert memory is not None
                _fill(reader, pipe, memory)
            except (EOFError, ConnectionResetError, BrokenPipeError):
                raise
            except Exception as error:
                # Whatever a decoder raises ends this video, and only this video.
                pipe.send(_Failure(explain(path, error, _drain(log))))


def _receive_memory(pipe: Connection) -> mmap.mmap | None:
    size = pipe.recv()
    if size is None:
        return None
    descriptor = reduction.recv_handle(pipe)
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _fill(reader: Reader, pipe: Connection, memory: mmap.mmap) -> None:
    count, slot_bytes = pipe.recv()
    start = 0
    while start < reader.clip.frames:
        slot = pipe.recv()
        began = time.perf_counter()
        frames, times = reader.read(start, start + count)
        if len(frames) == 0:
            break
        room = np.frombuffer(memory, np.uint8, frames.size, slot * slot_bytes)
        np.copyto(room.reshape(frames.shape), frames)
        pipe.send((slot, start, len(frames), times, time.perf_counter() - began))
        start += len(frames)
    pipe.send(None)
    for _ in range(SLOTS):
        pipe.recv()


def _drain(log: TextIO) -> str:
    log.seek(0)
    text = log.read()
    log.seek(0)
    log.truncate()
    return text
