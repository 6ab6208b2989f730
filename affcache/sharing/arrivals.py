"""Where pulled groups arrive: each in a corner of its own, shown in the cache when it is whole.

A group's files come to `.affcache/arriving/<group>/`; what is whole there is kept when the
connection breaks, and the next pull goes on from it. A whole group is renamed to its place and
sealed by a note, so that at any moment the cache is sound and knows what it has. At the end the
notes are folded into seal.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from affcache import notes
from affcache.arrays import METADATA, read_json, write_pieces
from affcache.errors import CacheError, RemoteError, StorageError
from affcache.places import FolderPlace
from affcache.progress import readable_bytes
from affcache.publish import check_same, claim, establish, video_fingerprint
from affcache.seals import NOTES, PRIVATE, Sealed, seal_bytes
from affcache.staging import install, sync_folder
from affcache.store import Cache, sha256_of, unsealed

SPARE_BYTES = 64 << 20


class Arrivals:
    """The receiving end of a pull.

    Parameters
    ----------
    cache : the folder that groups arrive in; need not be there yet
    header : of the cache that they come from

    Raises
    ------
    CacheError
        If there is a cache that was extracted in another way, or something else.
    """

    def __init__(self, cache: Path, header: Mapping[str, Any]) -> None:
        self.cache, self.header = cache, header
        self._corner = cache / PRIVATE / "arriving"
        if cache.is_file():
            raise CacheError(f"{cache}: is a file; unpack it, or choose another folder")
        if (cache / METADATA).exists():
            check_same(Cache(cache).header, header, cache)

    def digests(self, wanted: Iterable[str]) -> dict[str, set[str]]:
        """Group -> digest of what is here; what no seal covers is read from the disk."""
        if not self.cache.exists():
            return {}
        known = notes.survey(FolderPlace(self.cache)).digests()
        loose = [g for g in wanted if g not in known and (self.cache / g / METADATA).is_file()]
        found = self._hashed(loose) if loose else {}
        return known | {group: {notes.digest(files)} for group, files in found.items()}

    def check_room(self, size: int) -> None:
        """Refuse to begin what the disk cannot hold."""
        above = next(
            p for p in (self.cache.absolute(), *self.cache.absolute().parents) if p.exists()
        )
        free = shutil.disk_usage(above).free
        if size + SPARE_BYTES > free:
            raise StorageError(
                f"{self.cache}: {readable_bytes(size)} are to come and {readable_bytes(free)} are "
                "free; make room, or pull a part with --only"
            )

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Make the cache if there is none, keep other pulls away, and seal behind this one."""
        new = not (self.cache / METADATA).exists()
        establish(self.cache, self.header)
        self._corner.mkdir(parents=True, exist_ok=True)
        with (self.cache / PRIVATE / "pull.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CacheError(f"{self.cache}: another pull is at work here") from None
            if new:
                self._note("", self._hashed([""])[""])
            yield
            with unsealed(self.cache):
                shutil.rmtree(self._corner, ignore_errors=True)

    def path(self, group: str, name: str) -> Path:
        """Where a group's file arrives; its folder is made."""
        path = self._corner / group / name.removeprefix(f"{group}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, path: Path, entry: Sealed) -> bool:
        """Whether an earlier pull brought this file whole."""
        there = path.is_file() and path.stat().st_size == entry.size
        return there and sha256_of(path) == entry.sha256

    def publish(self, group: str, files: notes.Files, *, replaces: bool) -> None:
        """Show a group that has arrived whole, and seal it."""
        corner = self._corner / group
        if notes.is_folder(group):
            if replaces:
                self._discard(group)
            target = self.cache / group / METADATA
            target.parent.mkdir(parents=True, exist_ok=True)
            (corner / METADATA).replace(target)
        else:
            self._check_video(group, corner)
            _only(corner, {name.removeprefix(f"{group}/") for name in files})
            with self._alone(group):
                self._rename(corner, self.cache / group, group, replaces=replaces)
        self._note(group, files)

    def _discard(self, pseudo: str) -> None:
        """Take a set of pseudo-labels away as a whole, its seals first."""
        for note in self._notes(pseudo):
            note.unlink(missing_ok=True)
        shutil.rmtree(self.cache / NOTES / pseudo, ignore_errors=True)
        shutil.rmtree(self.cache / pseudo)

    def _rename(self, corner: Path, target: Path, group: str, *, replaces: bool) -> None:
        for note in self._notes(group):
            note.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target) and not replaces:
            raise CacheError(
                f"{self.cache}: {group} appeared while it was pulled; pull again to compare"
            )
        install(corner, target)

    def _check_video(self, group: str, corner: Path) -> None:
        """A video must say of itself that it was extracted as the cache was."""
        if not group.startswith("videos/"):
            return
        mine = read_json(corner / METADATA).get("attributes")
        mine = mine if isinstance(mine, dict) else {}
        face, source = str(mine.get("face")), str(mine.get("source_sha256"))
        if mine.get("fingerprint") != video_fingerprint(self.header["fields"], face, source):
            raise RemoteError(f"{group}: was extracted in another way than the cache it comes from")

    @contextlib.contextmanager
    def _alone(self, group: str) -> Iterator[None]:
        """Keep an extraction into the same cache away from the video."""
        if not group.startswith("videos/"):
            yield
            return
        with claim(self.cache, group.removeprefix("videos/")) as mine:
            if not mine:
                raise CacheError(f"{self.cache}: {group} is just being extracted; pull again later")
            yield

    def _hashed(self, groups: Iterable[str]) -> dict[str, dict[str, Sealed]]:
        """Groups' files as they lie here, found in one walk through the cache."""
        place = FolderPlace(self.cache)
        found: dict[str, dict[str, Sealed]] = {group: {} for group in groups}
        for name in place.files():
            group = notes.group_of(name)
            if group in found:
                found[group][name] = Sealed(place.size(name), sha256_of(self.cache / name))
        return found

    def _note(self, group: str, files: notes.Files) -> None:
        path = self.cache / notes.note_name(group, notes.digest(files))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pieces(path, [seal_bytes(files)])
        sync_folder(path.parent)

    def _notes(self, group: str) -> list[Path]:
        head = self.cache / notes.note_name(group, "")
        stem = head.name.removesuffix(".json")
        there = head.parent.iterdir() if head.parent.is_dir() else ()
        return [path for path in there if path.name.startswith(stem)]


def _only(folder: Path, names: set[str]) -> None:
    """Remove what an earlier pull left of other content."""
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        if path.is_dir():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in names:
            path.unlink()
