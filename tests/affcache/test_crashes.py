"""Whoever is killed whenever, a new run completes the cache and nothing differs."""

import errno
import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from affcache import publish, store, verify
from affcache.errors import StorageError
from tests.affcache.writing import FIELDS, VIDEOS, rows, write_all

KILLS = 100


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that begin with everything imported, so that a kill hits the writing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.affcache.writing"])
    return context


def contents(cache: Path) -> dict[str, bytes]:
    names = [*store.sealed_files(cache), cache / ".affcache" / "seal.json"]
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in names}


def test_a_writer_killed_at_any_moment_leaves_a_cache_that_the_next_run_completes(
    tmp_path: Path, context: ForkServerContext
) -> None:
    for name in ("first", "unbroken"):  # the first one also starts the server
        began = time.monotonic()
        process = context.Process(target=write_all, args=(tmp_path / f"{name}.zarr",))
        process.start()
        process.join()
    length = time.monotonic() - began
    want = contents(tmp_path / "unbroken.zarr")
    states = set()
    for turn in range(KILLS):
        cache = tmp_path / f"{turn}.zarr"
        process = context.Process(target=write_all, args=(cache,))
        process.start()
        time.sleep(length * turn / KILLS)
        process.kill()
        process.join()
        for video in store.Cache(cache).videos() if (cache / "zarr.json").exists() else ():
            np.testing.assert_array_equal(video.array("valid"), rows(video.id)["valid"])
        published = cache / "videos"
        states.add(len(list(published.iterdir())) if published.exists() else -1)
        write_all(cache)
        assert contents(cache) == want, f"killed after {turn} % of a run"
    assert len(states) >= 4, "the kills did not spread over the run"


def test_several_writers_share_a_cache_and_write_each_video_once(
    tmp_path: Path, context: ForkServerContext
) -> None:
    cache, log = tmp_path / "x.zarr", tmp_path / "log"
    writers = [context.Process(target=write_all, args=(cache, log)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert Counter(log.read_text().split()) == dict.fromkeys(VIDEOS, 1)
    assert verify.verify(cache) == []


def label_often(cache: Path) -> None:
    """Replace one video's annotations again and again."""
    for value in range(60):
        store.write_labels(cache, "v0", {"va": np.full((40, 2), value / 60)}, {"subject": "s"})


def test_a_writer_that_is_killed_or_held_up_loses_and_doubles_nothing(
    tmp_path: Path, context: ForkServerContext
) -> None:
    """One of four is killed, one stopped while the others write: its claim is its own."""
    cache, log = tmp_path / "x.zarr", tmp_path / "log"
    publish.create(cache, "test", FIELDS, {})
    writers = [context.Process(target=write_all, args=(cache, log)) for _ in range(4)]
    for writer in writers:
        writer.start()
    while not log.exists():
        time.sleep(0.001)
    os.kill(writers[0].pid or 0, signal.SIGSTOP)
    writers[1].kill()
    for writer in writers[1:]:
        writer.join(2)  # or they wait for what the stopped one holds
    os.kill(writers[0].pid or 0, signal.SIGCONT)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in (writers[0], *writers[2:])] == [0] * 3
    write_all(cache, log)  # what the killed one had begun
    assert store.Cache(cache).video_ids() == list(VIDEOS)
    assert max(Counter(log.read_text().split()).values()) == 1
    assert verify.verify(cache) == []


def test_several_who_annotate_one_video_take_turns(
    tmp_path: Path, context: ForkServerContext
) -> None:
    cache = tmp_path / "x.zarr"
    publish.create(cache, "test", FIELDS, {})
    writers = [context.Process(target=label_often, args=(cache,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert store.Cache(cache).place.members("labels") == ["v0", "zarr.json"]


def write_beyond_the_limit(cache: Path) -> None:
    """Write videos until the process may not make larger files, as on a full disk."""
    with store.unsealed(cache):
        for video_id, count in (("small", 40), ("large", 40_000)):
            with publish.VideoWriter(cache, video_id, {}) as video:
                if video_id == "large":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
                try:
                    video.append(rows(video_id, count))
                except StorageError as error:
                    (cache.parent / "message").write_text(str(error))
                    os._exit(3)
                video.publish({"fps": 25.0, "fingerprint": video_id})


def test_a_disk_that_is_full_at_the_last_moment_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "x.zarr"
    write_all(cache)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"zarr\.json: cannot write \(No space left on device\)"):
        write_all(cache)
    monkeypatch.undo()
    write_all(cache)
    assert verify.verify(cache) == []


def test_a_full_disk_is_one_line_and_leaves_what_was_published(
    tmp_path: Path, context: ForkServerContext
) -> None:
    cache = tmp_path / "x.zarr"
    publish.create(cache, "test", FIELDS, {})
    process = context.Process(target=write_beyond_the_limit, args=(cache,))
    process.start()
    process.join()
    assert process.exitcode == 3
    message = (tmp_path / "message").read_text()
    assert "features: cannot write (File too large)" in message
    assert "\n" not in message
    assert store.Cache(cache).video_ids() == ["small"]
    np.testing.assert_array_equal(
        store.Cache(cache).video("small").array("valid"), rows("small")["valid"]
    )
