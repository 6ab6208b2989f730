"""Long work says how far it is: a bar on a terminal, a line now and then everywhere else.

Everything goes to stderr, so that stdout stays what the command was asked for.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from affcache.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS = 10.0


def readable_bytes(count: float) -> str:
    """A number of bytes for people, in decimal units.

    >>> readable_bytes(1_234_567)
    '1.2 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def say(line: str) -> None:
    """One line of news on stderr."""
    print(printable(line), file=sys.stderr, flush=True)


class Progress:
    """Counts towards a total, with rate and time left.

    >>> with Progress("reading", total=2, unit="files") as progress:
    ...     progress.advance(2)

    Parameters
    ----------
    label : what is being done
    total : how many units there will be; None if nobody knows
    unit : the plural of what is counted; "bytes" are shown in kB, MB, GB
    """

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.note = ""
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._began = self._spoke = time.monotonic()
        if sys.stderr.isatty():
            self._start_bar()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add to what is done; `note` (a loss, a file name) is shown behind the count."""
        self.done += count
        self.note = note or self.note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, note=self._tail())
        elif time.monotonic() - self._spoke >= QUIET_SECONDS:
            self._spoke = time.monotonic()
            say(self._line())

    def _rate(self) -> float:
        return self.done / max(time.monotonic() - self._began, 1e-9)

    def _tail(self) -> str:
        rate = f"{self._rate():.1f} {self.unit}"
        if self.unit == "bytes":
            rate = readable_bytes(self._rate())
        return f"{rate}/s {printable(self.note)}".rstrip()

    def _line(self) -> str:
        if self.total is None:
            return f"{self.label}: {self._count(self.done)}, {self._tail()}"
        left = f"{(self.total - self.done) / self._rate():.0f} s left, " if self.done else ""
        done = f"{self.done}/{self.total} {self.unit}"
        if self.unit == "bytes":
            done = f"{readable_bytes(self.done)} of {readable_bytes(self.total)}"
        return f"{self.label}: {done}, {left}{self._tail()}"

    def _count(self, count: int) -> str:
        return readable_bytes(count) if self.unit == "bytes" else f"{count} {self.unit}"

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn() if self.unit == "bytes" else MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self.label, total=self.total, note="")
        self._bar.start()
