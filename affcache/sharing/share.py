"""Push and pull: a cache and a folder behind a URL, made to hold the same, group by group.

What has to move is decided from the two seals alone: a group (a video, its annotations, its
pseudo-labels) whose digest is the same on both sides moves no bytes.

The remote folder is a cache like any other: `zarr.json`, `videos/<id>/...`, `labels/<id>/...`,
`pseudo/<name>/<id>/...` lie as they do at home, so a folder that was pushed to opens, verifies and
trains. It differs in two things, because many push to one place and object stores have no locks:

    .affcache/seals/<group>+<digest>.json    one seal a group (`affcache.notes`), written when every
                                             file of the group is there and was checked
    zarr.json                                without the consolidated copy of everybody's metadata

Nothing is shared but the header, so people who push different videos cannot meet. Readers go by the
seals (`affcache pull`) or by a group's own zarr.json, which is sent last (`affcache.store.Cache`);
to neither does half a video exist. Names below `.affcache/arriving/` are files on their way.

Convention: "here" is the cache on this disk, "there" the remote folder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from affcache import notes
from affcache.arrays import METADATA
from affcache.errors import CacheError, RemoteError
from affcache.places import Place
from affcache.progress import Progress, say
from affcache.publish import check_same
from affcache.seals import PRIVATE, seal_bytes
from affcache.sharing import header
from affcache.sharing.arrivals import Arrivals
from affcache.sharing.connection import StoppedError
from affcache.sharing.moves import ORDINARY, Move, Outcome, Terms, compare, refuse_replacing
from affcache.sharing.remote import Moved, Remote
from affcache.store import Cache


def push(cache: Path, there: Remote, terms: Terms = ORDINARY) -> Outcome:
    """Send what a remote folder does not have.

    Parameters
    ----------
    cache : a sealed cache, a folder or a zip
    there : the remote folder; made if it is not there

    Raises
    ------
    CacheError
        If the cache is not sealed, is damaged, or was extracted in another way than the one there.
    RemoteError
        If groups with the same name have other content there, or the connection does not hold.
    """
    began = time.perf_counter()
    source = Cache(cache)
    here = _sealed(source.place)
    root = header.remote_root(there)
    if root is not None:
        check_same(header.header_of(root, there.path), source.header, there.path)
    elif other := [name for name in there.members("") if name != PRIVATE]:
        raise RemoteError(
            f"{there.path}: holds {other[0]!r:.80} and no cache; choose another folder"
        )
    taken = _sealed(there) if root is not None else notes.survey(there)
    moves, unchanged = compare(
        here.digests(),
        taken.digests(),
        lambda group: notes.group_files(source.place, here, group),
        terms.chosen,
    )
    refuse_replacing(moves, f"{there.path} has", force=terms.force)
    if not terms.dry_run:
        there.sweep()
        header.write_remote_root(there, root, source.header)
        with Progress("pushing", sum(m.bytes for m in moves), "bytes") as progress:
            work = partial(_send, there, taken, source.place, _counter(progress))
            _in_order(moves, work, terms.jobs, there)
        header.check_still(there, source.header)
    return Outcome(moves=moves, unchanged=unchanged, seconds=time.perf_counter() - began)


def pull(there: Remote, cache: Path, terms: Terms = ORDINARY) -> Outcome:
    """Fetch what a cache does not have.

    Parameters
    ----------
    there : the remote folder
    cache : a folder; made if it is not there

    Raises
    ------
    CacheError
        If the cache here was extracted in another way.
    RemoteError
        If there is no cache, its seals are not to be trusted, groups with the same name have other
        content here, or the connection does not hold.
    StorageError
        If there is not enough room.
    """
    began = time.perf_counter()
    root = header.remote_root(there)
    if root is None:
        raise RemoteError(f"{there.path}: no cache there (make one with `affcache push`)")
    sealed = _sealed(there)
    arrivals = Arrivals(cache, header.header_of(root, there.path))
    wanted = sealed.digests()
    moves, unchanged = compare(
        wanted,
        arrivals.digests(wanted),
        partial(_files_there, there, sealed),
        terms.chosen,
    )
    refuse_replacing(moves, f"{cache} has", force=terms.force)
    if not terms.dry_run and moves:
        arrivals.check_room(sum(move.bytes for move in moves))
        with arrivals.open(), Progress("pulling", sum(m.bytes for m in moves), "bytes") as progress:
            work = partial(_fetch, there, arrivals, _counter(progress))
            _in_order(moves, work, terms.jobs, there)
    return Outcome(moves=moves, unchanged=unchanged, seconds=time.perf_counter() - began)


def _sealed(where: Place | Remote) -> notes.Seals:
    """The seals of a place that is not just being changed."""
    private = where.members(PRIVATE)
    if any(name.startswith("previous-seal") for name in private):
        raise CacheError(
            f"{where.path}: is being changed, or a change broke off; when it is over (run the same "
            "command there again) the cache is sealed, and only then can it be shared"
        )
    seals = notes.survey(where)
    if seals.whole is None and not seals.notes:
        raise CacheError(
            f"{where.path}: is not sealed; finish what writes it (run the same command again)"
        )
    return seals


def _in_order(
    moves: Iterable[Move], work: Callable[[Move], None], jobs: int | None, there: Remote
) -> None:
    """Folders first, one by one; then everything that lies in them, several at a time.

    The first failure lets the others give up; what is whole by then stays.
    """
    moves = list(moves)
    for move in moves:
        if notes.is_folder(move.group):
            work(move)
    with ThreadPoolExecutor(jobs or there.driver.jobs) as pool:
        running = [pool.submit(work, move) for move in moves if not notes.is_folder(move.group)]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException as error:
            there.stop()
            pool.shutdown(cancel_futures=True)
            done = sum(f.done() and not f.cancelled() and f.exception() is None for f in running)
            say(f"{done} of {len(running)} groups are whole and stay; run it again for the rest")
            raise _first(running) or error from None


def _first(running: Iterable[Any]) -> BaseException | None:
    """The failure that made the others stop."""
    failures = [f.exception() for f in running if f.done() and not f.cancelled()]
    return next((e for e in failures if e is not None and not isinstance(e, StoppedError)), None)


def _send(there: Remote, taken: notes.Seals, source: Place, moved: Moved, move: Move) -> None:
    """Send one group: its arrays, its own zarr.json, its seal."""
    if move.replaces:
        _withdraw(there, taken, move.group)
    present = {} if notes.is_folder(move.group) else there.files(move.group)
    stale = sorted(present.keys() - move.files.keys())
    for name in stale:
        there.remove(name)
    if stale:
        there.prune(move.group)
    for name in _metadata_last(move.group, move.files):
        entry, blocks = move.files[name], partial(source.blocks, name, there.driver.block_bytes)
        if present.get(name) == entry.size and there.holds(name, entry, blocks):
            moved(entry.size)
        else:
            there.send(name, entry, blocks, moved)
    digest = notes.digest(move.files)
    there.write(notes.note_name(move.group, digest), seal_bytes(move.files))
    if move.group in taken.notes or move.replaces:
        there.remove(notes.note_name(move.group, notes.EMPTY))


def _files_there(there: Remote, sealed: notes.Seals, group: str) -> notes.Files:
    """What a group there consists of; a note that looks damaged may have been so on its way."""
    for _ in range(there.connection.patience.tries - 1):
        with contextlib.suppress(CacheError):
            return notes.group_files(there, sealed, group)
    return notes.group_files(there, sealed, group)


def _withdraw(there: Remote, taken: notes.Seals, group: str) -> None:
    """Take a group (of a set of pseudo-labels, all of it) away before its files change."""
    below = (
        {g for g in taken.digests() if g.startswith(f"{group}/")}
        if notes.is_folder(group)
        else set()
    )
    for inner in sorted(below):
        _withdraw(there, taken, inner)
        for name in there.files(inner):
            there.remove(name)
        there.prune(inner)
    if group in taken.groups:
        there.write(notes.note_name(group, notes.EMPTY), seal_bytes({}))
    for digest in taken.notes.get(group, ()):
        if digest != notes.EMPTY:
            there.remove(notes.note_name(group, digest))
    there.remove(f"{group}/{METADATA}")


def _fetch(there: Remote, arrivals: Arrivals, moved: Moved, move: Move) -> None:
    """Fetch one group into its own corner, and publish it from there."""
    for name in _metadata_last(move.group, move.files):
        entry, path = move.files[name], arrivals.path(move.group, name)
        if arrivals.has(path, entry):
            moved(entry.size)
        else:
            there.fetch(name, entry, path, moved)
    arrivals.publish(move.group, move.files, replaces=move.replaces)


def _metadata_last(group: str, files: Collection[str]) -> list[str]:
    own = f"{group}/{METADATA}"
    return [*sorted(set(files) - {own}), own]


def _counter(progress: Progress) -> Moved:
    """Several threads count into one progress."""
    lock = threading.Lock()

    def moved(count: int) -> None:
        with lock:
            progress.advance(count)

    return moved
