"""A connection that may break: what fails in passing is tried again on a new one."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from affcache.errors import AffcacheError, RemoteError
from affcache.progress import say
from affcache.sharing.drivers import Driver

T = TypeVar("T")


class WrongBytesError(RemoteError):
    """What arrived is not what was sent; sending again may help."""


class StoppedError(AffcacheError):
    """Another thread failed, so this one gives up its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often something is tried, and the seconds before the second time (then doubled)."""

    tries: int = 5
    pause: float = 0.5


@dataclass(slots=True, kw_only=True)
class Connection:
    """A filesystem that is made when it is needed, and made anew when it broke.

    Attributes
    ----------
    path : what messages call the place: the URL without its password
    connect : makes a filesystem (fsspec's)
    driver : what is known of this kind of place
    stopped : set when the work is given up; every thread notices it before its next block
    """

    path: str
    connect: Callable[[], Any]
    driver: Driver
    patience: Patience = field(default_factory=Patience)
    stopped: threading.Event = field(default_factory=threading.Event)
    _filesystem: Any = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def unless_stopped(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Blocks, until the work is given up."""
        for block in blocks:
            if self.stopped.is_set():
                raise StoppedError
            yield block

    def _connected(self) -> Any:
        with self._lock:
            if self._filesystem is None:
                self._filesystem = self.connect()
            return self._filesystem

    def _disconnect(self, filesystem: Any) -> None:
        with self._lock:
            if self._filesystem is filesystem:
                self._filesystem = None

    def attempt(self, name: str, act: Callable[[Any], T]) -> T:
        """Do something there; what fails in passing is done again on a new connection."""
        at = f"{self.path}/{name}".rstrip("/")
        for turn in range(1, self.patience.tries + 1):
            filesystem = None
            try:
                filesystem = self._connected()
                return act(filesystem)
            except WrongBytesError as error:
                failure: RemoteError = error
            except AffcacheError:
                raise
            except self.driver.failures as error:
                failure = RemoteError(f"{at}: {one_line(error)}")
                failure.__cause__ = error
                if not self.driver.may_pass(error):
                    raise failure from error
                self._disconnect(filesystem)
            if turn < self.patience.tries:
                say(f"{failure}; trying again")
                pause = self.patience.pause * 2 ** (turn - 1) * random.uniform(0.5, 1.5)
                if self.stopped.wait(pause):
                    raise StoppedError
        raise RemoteError(
            f"{failure} (tried {self.patience.tries} times); what arrived whole stays, run the "
            "same command again to go on"
        ) from failure


def one_line(error: Exception) -> str:
    """An error as the end of a message: the first line it has, and what it is."""
    text = (str(error).splitlines() or [""])[0][:300]
    return f"{text} ({type(error).__name__})" if text else type(error).__name__
