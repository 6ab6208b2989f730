"""Readers that do to their process what damaged videos do to a decoder's."""

import os
import signal
import time

import numpy as np

from stages.extract.reader import Clip


class Fine:
    """Thirty tiny frames whose pixels are their number."""

    clip = Clip(frames=30, height=4, width=6, fps=10.0)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(start, min(stop, self.clip.frames))
        frames = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 4, 6, 3))
        return frames.astype(np.uint8), numbers / self.clip.fps


class Broken(Fine):
    """Crashes, hangs, raises or complains at frame 20 where the file's name asks for it."""

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        if start >= 20 and "crash" in self.path:
            os.kill(os.getpid(), signal.SIGSEGV)
        if start >= 20 and "hang" in self.path:
            time.sleep(600)
        if start >= 20 and "noisy" in self.path:
            os.write(2, b"[codec @ 0x1] a complaint\n")
        if start >= 20 and "raise" in self.path:
            raise RuntimeError("bad packet")
        return super().read(start, stop)
