"""A folder behind a URL: small documents read and written, large files moved and checked.

Everything that can fail in passing is tried again on a new connection, a little later each time.
A file is shown under its name only when it is whole: object stores do that by themselves, elsewhere
it is written under `.affcache/arriving/` and renamed when what arrived has been read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.utils import get_protocol

from affcache.errors import CacheError, RemoteError
from affcache.seals import PRIVATE, Sealed
from affcache.sharing.connection import Connection, Patience, WrongBytesError, one_line
from affcache.sharing.drivers import driver, stored_md5
from affcache.sharing.folders import Folders
from affcache.staging import storing

LARGEST_DOCUMENT = 1 << 27
ARRIVING = f"{PRIVATE}/arriving"
STALE_SECONDS = 86_400.0
# user:begin-of-password, and behind a character that ends it too early the rest and an @
_BROKEN_PASSWORD = re.compile(r"\w+://[^/?#@:]*:(?!\d+/)[^/?#@]*[/?#].*@")
Blocks = Callable[[], Iterable[bytes]]
Moved = Callable[[int], None]


class Remote(Folders):
    """A folder behind a URL whose files are read, written, fetched and sent by several threads."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

        def act(filesystem: Any) -> bool:
            try:
                return bool(filesystem.info(self._at(name))["type"] != "directory")
            except FileNotFoundError:
                return False

        return self.connection.attempt(name, act)

    def read(self, name: str) -> bytes:
        """A small file's bytes."""

        def act(filesystem: Any) -> bytes:
            data = b""
            for block in self._blocks(filesystem, name):
                data += block
                if len(data) > LARGEST_DOCUMENT:
                    raise RemoteError(f"{self.path}/{name}: is too large for metadata")
            return data

        return self.connection.attempt(name, act)

    def write(self, name: str, data: bytes) -> None:
        """Put a small file there, or replace it."""
        entry = Sealed(len(data), hashlib.sha256(data).hexdigest())
        self.send(name, entry, lambda: [data], lambda count: None)

    def send(self, name: str, entry: Sealed, blocks: Blocks, moved: Moved) -> None:
        """Put a file there and make sure that it arrived.

        Parameters
        ----------
        entry : what the file must be
        blocks : gives its bytes, from the beginning each time it is called
        moved : is told how many bytes went, and how many of them did so in vain (negative)

        Raises
        ------
        CacheError
            If the bytes that were to be sent are not what `entry` says.
        RemoteError
            If it cannot be put there, or does not arrive as it was sent.
        """

        def act(filesystem: Any) -> None:
            arriving = name if self.driver.objects else f"{ARRIVING}/{uuid.uuid4().hex}"
            for path in {arriving, name}:
                self._make_folder(filesystem, path.rpartition("/")[0])
            with _counted(moved) as count:
                with self._written(filesystem, arriving) as file:
                    for block in self.connection.unless_stopped(blocks()):
                        file.write(block)
                        count(len(block))
                try:
                    self._check(filesystem, arriving, name, entry, blocks)
                except FileNotFoundError:
                    # Somebody who puts the same file there just now may hide it for a moment.
                    raise WrongBytesError(
                        f"{self.path}/{name}: vanished when it was sent"
                    ) from None
                if arriving != name:
                    filesystem.mv(self._at(arriving), self._at(name))

        self.connection.attempt(name, act)

    def holds(self, name: str, entry: Sealed, blocks: Blocks) -> bool:
        """Whether a file there already is what it must be; its bytes are not sent for that."""

        def act(filesystem: Any) -> bool:
            try:
                self._check(filesystem, name, name, entry, blocks)
            except (WrongBytesError, FileNotFoundError):
                return False
            return True

        return self.connection.attempt(name, act)

    def fetch(self, name: str, entry: Sealed, path: Path, moved: Moved) -> None:
        """Get a file and show it under its path when it is whole, checked and on the disk.

        Raises
        ------
        RemoteError
            If it cannot be had, or is not what `entry` says.
        StorageError
            If this disk refuses it.
        """
        part = path.with_name(f"{path.name}.part")

        def act(filesystem: Any) -> None:
            found = hashlib.sha256()
            with _counted(moved) as count, part.open("wb") as file:
                for block in self._blocks(filesystem, name, limit=entry.size):
                    with storing(part, "what arrived is intact, make room"):
                        file.write(block)
                    found.update(block)
                    count(len(block))
                self._compare(name, entry, file.tell(), found.hexdigest())
                with storing(part, "what arrived is intact, make room"):
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)

        self.connection.attempt(name, act)

    def remove(self, name: str) -> None:
        """Take a file away; it is no fault if there is none."""

        def act(filesystem: Any) -> None:
            with contextlib.suppress(FileNotFoundError):
                filesystem.rm_file(self._at(name))

        self.connection.attempt(name, act)

    def prune(self, folder: str) -> bool:
        """Take away folders below one, and it, that hold no file; says whether it is gone."""
        if self.driver.objects:
            return False
        inside = self._list(folder).items()
        kept = [n for n, i in inside if i["type"] != "directory" or not self.prune(f"{folder}/{n}")]
        if kept:
            return False

        def act(filesystem: Any) -> None:
            with contextlib.suppress(FileNotFoundError):
                filesystem.rmdir(self._at(folder))

        self.connection.attempt(folder, act)
        above, _, name = folder.rpartition("/")
        self._made.discard(folder)
        self._kinds.pop(folder, None)
        self._kinds.get(above, {}).pop(name, None)
        return True

    def sweep(self) -> None:
        """Remove what a push that died long ago left half sent."""
        for name, info in self._list(ARRIVING).items():
            changed = info.get("mtime")
            since = changed.timestamp() if isinstance(changed, datetime) else changed
            if isinstance(since, int | float) and time.time() - since > STALE_SECONDS:
                self.remove(f"{ARRIVING}/{name}")

    @contextlib.contextmanager
    def _written(self, filesystem: Any, name: str) -> Iterator[Any]:
        """A file to write; a driver that shows files whole would show half a one when it closes."""
        file = filesystem.open(self._at(name), "wb", **self.driver.opening)
        try:
            yield file
        except BaseException:
            if self.driver.objects:
                with contextlib.suppress(AttributeError, *self.driver.failures):
                    file.discard()
                    file.closed = True
            else:
                with contextlib.suppress(*self.driver.failures):
                    file.close()
            raise
        file.close()

    def _check(self, filesystem: Any, there: str, name: str, entry: Sealed, blocks: Blocks) -> None:
        """Hold what lies there against what it must be, by the store's own hash if it has one."""
        stored = stored_md5(filesystem.info(self._at(there))) if self.driver.objects else None
        if stored is not None:
            sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            for block in self.connection.unless_stopped(blocks()):
                sha256.update(block)
                md5.update(block)
            if md5.hexdigest() == stored and sha256.hexdigest() == entry.sha256:
                return
        found, size = hashlib.sha256(), 0
        for block in self._blocks(filesystem, there, limit=entry.size):
            found.update(block)
            size += len(block)
        if (size, found.hexdigest()) != entry:
            self._blame(name, entry, blocks)
            self._compare(name, entry, size, found.hexdigest())

    def _blame(self, name: str, entry: Sealed, blocks: Blocks) -> None:
        """If what was sent was wrong already, sending it again does not help."""
        found, size = hashlib.sha256(), 0
        for block in blocks():
            found.update(block)
            size += len(block)
        if (size, found.hexdigest()) != entry:
            raise CacheError(
                f"{name}: is not what this cache's seal says; run `affcache verify`, and extract "
                "or fetch it again"
            )

    def _compare(self, name: str, entry: Sealed, size: int, sha256: str) -> None:
        if (size, sha256) != entry:
            raise WrongBytesError(
                f"{self.path}/{name}: {size} bytes with sha256 {sha256:.12} arrived, sealed are "
                f"{entry.size} with {entry.sha256:.12}"
            )

    def _blocks(self, filesystem: Any, name: str, limit: int | None = None) -> Iterator[bytes]:
        """A file's bytes; of one that is longer than `limit`, a single byte beyond."""
        left, most = limit, self.driver.block_bytes
        if "local" in filesystem.protocol and filesystem.info(self._at(name))["type"] == "other":
            raise RemoteError(f"{self.path}/{name}: is a device, socket or pipe, not a file")
        with filesystem.open(self._at(name), "rb", **self.driver.opening) as file:
            while block := file.read(most if left is None else min(most, left + 1)):
                yield from self.connection.unless_stopped([bytes(block)])
                if left is not None:
                    left -= len(block)
                    if left < 0:
                        return


def remote(
    url: str, options: Mapping[str, Any] | None = None, *, patience: Patience | None = None
) -> Remote:
    """The folder behind a URL; nothing is connected before it is needed.

    Parameters
    ----------
    url : a path, or file://, s3://, gs://, sftp:// or any other that fsspec knows
    options : for the driver (an endpoint, a profile, a key file), as fsspec's own documentation of
        each filesystem has them

    Raises
    ------
    RemoteError
        If the driver is not installed or nobody knows such URLs.
    """
    protocol = get_protocol(url)
    row = driver(protocol)
    shown = _without_password(url)
    # What a driver logs goes to the screen unless somebody listens; what matters it raises, too.
    logging.getLogger(row.module or "fsspec").addHandler(logging.NullHandler())
    try:
        kind = fsspec.get_filesystem_class(protocol)
        from_url = {} if protocol in ("file", "local") else kind._get_kwargs_from_urls(url)
        root = str(kind._strip_protocol(url)).rstrip("/")
    except (ValueError, ImportError) as error:
        raise RemoteError(f"{shown}: no such kind of URL ({one_line(error)})") from None
    if not url or not root:
        raise RemoteError(f"{shown}: name a folder, such as {shown.rstrip('/')}/sewa.zarr")
    wanted = {**row.options, **from_url, **(options or {})}

    def connect() -> Any:
        try:
            return kind(**wanted, skip_instance_cache=True)
        except (TypeError, ValueError) as error:
            raise RemoteError(f"{shown}: {one_line(error)}; is an --option wrong?") from error

    connection = Connection(
        path=shown, connect=connect, driver=row, patience=patience or Patience()
    )
    return Remote(root, connection)


def _without_password(url: str) -> str:
    """What messages call a URL.

    Raises
    ------
    RemoteError
        If the end of its password cannot be told; every part of such a URL may be secret.
    """
    if _BROKEN_PASSWORD.match(url):
        raise RemoteError(
            f"{url.partition(':')[0]}://...: a user or password with one of / ? # in it has to be "
            "written with %2F, %3F, %23"
        )
    parts = urlsplit(url)
    if parts.password is None:
        return url.rstrip("/")
    return url.replace(f":{parts.password}@", "@", 1).rstrip("/")


@contextlib.contextmanager
def _counted(moved: Moved) -> Iterator[Moved]:
    """Pass on counts, and take them back if what they count was in vain."""
    total = 0

    def count(number: int) -> None:
        nonlocal total
        total += number
        moved(number)

    try:
        yield count
    except BaseException:
        moved(-total)
        raise
