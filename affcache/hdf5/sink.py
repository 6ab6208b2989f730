"""A file that HDF5 writes to and that never fails it: what the disk refuses is remembered instead.

The HDF5 library does not survive a full disk: it crashes while closing what it could not write. So
a refused write is taken as done, and whoever writes asks `check` now and then and throws the file
away.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from affcache.errors import StorageError


class Sink(io.FileIO):
    """A new file, opened for reading and writing.

    Parameters
    ----------
    path : where it lies; it must not exist yet
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x+")
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, or remember why not."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left and self.refused is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend it, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return size or 0

    def check(self) -> None:
        """Say what the disk has refused.

        Raises
        ------
        StorageError
            If something of what was written is not there.
        """
        if self.refused is not None:
            raise StorageError(
                f"{self.name}: cannot write ({self.refused.strerror}); make room and run the same "
                "command again"
            ) from self.refused
