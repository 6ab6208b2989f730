"""The names behind a URL: listed and made, and never through a link."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from affcache.errors import RemoteError
from affcache.sharing.connection import Connection


class Folders:
    """A folder behind a URL and what lies below it, used by several threads.

    Parameters
    ----------
    root : the folder's path as the driver wants it
    connection : gives the filesystem
    """

    def __init__(self, root: str, connection: Connection) -> None:
        self.root, self.connection, self.driver = root, connection, connection.driver
        self._kinds: dict[str, dict[str, str]] = {}
        self._made: set[str] = set()

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.connection.path

    def stop(self) -> None:
        """Let every thread that moves something give up."""
        self.connection.stopped.set()

    def members(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted; empty if there is none."""
        return sorted(self._list(folder))

    def files(self, folder: str) -> dict[str, int]:
        """Name -> bytes of every file below a folder.

        Raises
        ------
        RemoteError
            If there is a link: a cache holds its own files, and nothing is written through one.
        """
        if self.driver.objects:
            return self.connection.attempt(folder, partial(self._find, folder))
        found: dict[str, int] = {}
        for name, info in self._list(folder).items():
            inside = f"{folder}/{name}".lstrip("/")
            if info["type"] == "directory":
                found |= self.files(inside)
            else:
                found[inside] = int(info.get("size") or 0)
        return found

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}".rstrip("/")

    def _is_folder(self, folder: str) -> bool:
        """Whether there is such a folder, reached through no link; what is above is looked at once.

        Raises
        ------
        RemoteError
            If it is or lies behind a link: nothing is listed, written or removed through one.
        """
        if self.driver.objects or not folder:
            return True
        above, _, name = folder.rpartition("/")
        if not self._is_folder(above):
            return False
        if above not in self._kinds:
            self._list(above)
        return self._kinds[above].get(name) == "directory"

    def _list(self, folder: str) -> dict[str, Mapping[str, Any]]:
        if not self._is_folder(folder):
            return {}

        def act(filesystem: Any) -> list[Mapping[str, Any]]:
            try:
                return list(filesystem.ls(self._at(folder), detail=True))
            except FileNotFoundError:
                return []

        found = {}
        for info in self.connection.attempt(folder, act):
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            if info.get("islink") or info["type"] == "link":
                raise RemoteError(
                    f"{self.path}/{folder}: {name!r:.80} is a link; a cache holds its own files"
                )
            found[name] = info
        if not self.driver.objects:
            self._kinds[folder] = {name: str(info["type"]) for name, info in found.items()}
        return found

    def _find(self, folder: str, filesystem: Any) -> dict[str, int]:
        there = filesystem.find(self._at(folder), detail=True)
        head = f"{self._at('')}/"
        return {
            path.removeprefix(head): int(info.get("size") or 0)
            for path, info in there.items()
            if path.startswith(head)
        }

    def _make_folder(self, filesystem: Any, folder: str) -> None:
        """Make a folder and those above it, none of them through a link."""
        if self.driver.objects or folder in self._made:
            return
        if not folder:
            filesystem.makedirs(self._at(""), exist_ok=True)
        else:
            above, _, name = folder.rpartition("/")
            self._make_folder(filesystem, above)
            if not self._is_folder(folder):
                self._make_one(filesystem, folder)
                self._kinds[above][name] = "directory"
                self._kinds.setdefault(folder, {})
        self._made.add(folder)

    def _make_one(self, filesystem: Any, folder: str) -> None:
        try:
            filesystem.mkdir(self._at(folder), create_parents=False)
        except self.driver.failures as error:
            # Somebody else may have been faster; servers do not agree on how they say so.
            with contextlib.suppress(FileNotFoundError):
                if filesystem.info(self._at(folder))["type"] == "directory":
                    return
            raise error
