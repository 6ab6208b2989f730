"""What appears whole or not at all: written beside its place, forced to disk, then renamed.

What is being written lies beside the target as `.<name>.partial`, locked by its writer: a dead
one's is taken over by the next, a living one's is left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from affcache.errors import CacheError, StorageError

SMALL_FILE = 1 << 16
_HERE, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def staged_file(target: Path, *, replace: bool = False) -> Iterator[int]:
    """A descriptor to write a new file through; it becomes the target when the block ends well.

    Raises
    ------
    CacheError
        If the target is there (and `replace` is not said) or another process writes it now.
    """
    if not replace or target.is_dir():
        refuse_existing(target)
    partial = _partial(target)
    with _locked(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, target) as descriptor:
        try:
            os.ftruncate(descriptor, 0)
            yield descriptor
            with storing(target):
                os.fsync(descriptor)
                partial.replace(target)
                sync_folder(target.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes the target when the block ends well.

    Raises
    ------
    CacheError
        If the target is there (unless as an empty folder) or another process writes it now.
    """
    refuse_existing(target)
    partial = _partial(target)
    with storing(target):
        partial.mkdir(exist_ok=True)
    with _locked(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, target) as descriptor:
        try:
            _empty(partial)
            yield partial
            with storing(target):
                _sync_all(descriptor)
                partial.rename(target)
                sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextlib.contextmanager
def storing(
    target: Path, state: str = "nothing was changed, make room or choose another place"
) -> Iterator[None]:
    """Turn what the disk refuses into one line; `state` says what is there, and the way out."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{target}: cannot write ({error.strerror}); {state} and run the same command again"
        ) from error


def refuse_existing(target: Path) -> None:
    """Refuse a target that is there already, an empty folder excepted."""
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise CacheError(f"{target}: is there already; choose another name or move it away")
    if not target.parent.is_dir():
        raise CacheError(f"{target}: there is no folder {target.parent}; make it first")


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of the data at an offset."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def reserve(descriptor: int, length: int) -> None:
    """Claim the room before it is written: a full disk shows at once, and writing is faster."""
    if length < SMALL_FILE or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


@contextlib.contextmanager
def _locked(partial: Path, flags: int, target: Path) -> Iterator[int]:
    """Open and lock; the kernel drops the lock with its owner."""
    with storing(target):
        descriptor = os.open(partial, flags | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.lexists(partial) and os.path.samestat(
                os.fstat(descriptor), partial.lstat()
            )
        except BlockingIOError:
            same = False
        if not same:  # held by somebody, or published by somebody in between
            raise CacheError(f"{target}: is being written by another process")
        yield descriptor
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def install(fresh: Path, target: Path) -> None:
    """Put a written folder in a target's place, in one step, and remove what was there before.

    Whoever looks, also after a crash, finds the old folder or the new one, and either is whole.

    Parameters
    ----------
    fresh : a folder on the same disk whose files are on the disk already (fsync)
    target : where it goes; may be there
    """
    for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
        sync_folder(folder)
    if os.path.lexists(target):
        _exchange(fresh, target)
    else:
        fresh.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(fresh, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names; by three renames where the system or the disk cannot do it by one."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    if renameat2 is None or renameat2(_HERE, names[0], _HERE, names[1], _RENAME_EXCHANGE) != 0:
        aside = one.with_name(f"{one.name}.aside")
        shutil.rmtree(aside, ignore_errors=True)  # of a crash; what is at `other` came later
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _sync_all(descriptor: int) -> None:
    """Force a whole file system to disk: one wait instead of one for each of thousands of files."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
