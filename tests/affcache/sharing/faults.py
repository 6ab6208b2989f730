"""A filesystem around another one that fails when told to: cuts, lost objects, wrong bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from affcache.sharing.connection import Connection, Patience
from affcache.sharing.remote import Remote, remote

QUICK = Patience(tries=6, pause=0.001)
ONCE = Patience(tries=1, pause=0.0)
COUNTED = ("ls", "find", "info", "mv", "mkdir", "makedirs", "rm_file")


@dataclass
class Plan:
    """Which operations fail, by their number.

    Attributes
    ----------
    fails : number -> what is raised instead of doing it
    garbles : numbers of writes or reads in whose data one byte is flipped, unless it is a cache's
        own header, the one file that no seal covers
    each : asked with every operation's name and path; what it returns is raised
    """

    fails: dict[int, Exception] = field(default_factory=dict)
    garbles: set[int] = field(default_factory=set)
    each: Callable[[str, str], Exception | None] = lambda name, path: None
    done: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, name: str, path: str) -> int:
        with self.lock:
            number = len(self.done)
            self.done.append((name, path))
        error = self.fails.get(number) or self.each(name, path)
        if error is not None:
            raise error
        return number

    def data(self, name: str, path: str, data: bytes) -> bytes:
        number = self.step(name, path)
        if number in self.garbles and data and not path.endswith(".zarr/zarr.json"):
            return bytes([data[0] ^ 1]) + data[1:]
        return data


class FaultyFile:
    """A file of a filesystem that fails; `whole` ones are there when closed, or not at all."""

    def __init__(self, opened: Callable[[], Any], plan: Plan, path: str, *, whole: bool) -> None:
        self.opened, self.plan, self.path, self.whole = opened, plan, path, whole
        self.closed, self.kept = False, bytearray()
        self.inner = None if whole else opened()

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self.whole:
            with self.opened() as file:
                file.write(bytes(self.kept))
        else:
            self.inner.close()

    def discard(self) -> None:
        self.kept.clear()

    def write(self, data: bytes) -> int:
        write = self.kept.extend if self.whole else self.inner.write
        try:
            write(self.plan.data("write", self.path, bytes(data)))
        except ConnectionError:
            write(bytes(data)[: len(data) // 2])  # a cut comes in the middle
            raise
        return len(data)

    def read(self, size: int = -1) -> bytes:
        return self.plan.data("read", self.path, self.inner.read(size))


class FaultyFileSystem:
    def __init__(self, inner: Any, plan: Plan) -> None:
        self.inner, self.plan = inner, plan

    def open(self, path: str, mode: str, **options: Any) -> FaultyFile:
        self.plan.step(f"open {mode}", path)
        whole = mode == "wb" and "memory" in self.inner.protocol
        opened = partial(self.inner.open, path, mode, **options)
        return FaultyFile(opened, self.plan, path, whole=whole)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in COUNTED:
            return method

        def counted(path: str, *arguments: Any, **options: Any) -> Any:
            self.plan.step(name, path)
            return method(path, *arguments, **options)

        return counted


def faulty(url: str, options: dict[str, Any], plan: Plan, patience: Patience = QUICK) -> Remote:
    """The folder behind a URL, reached through a filesystem that fails as planned."""
    plain = remote(url, options)

    def connect() -> FaultyFileSystem:
        return FaultyFileSystem(plain.connection.connect(), plan)

    connection = Connection(
        path=plain.path, connect=connect, driver=plain.driver, patience=patience
    )
    return Remote(plain.root, connection)
