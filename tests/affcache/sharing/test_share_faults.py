"""Whatever breaks on the way: trying again gets there, or one line says so and a rerun does."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache import notes, store, verify
from affcache.errors import AffcacheError, CacheError, RemoteError, StorageError
from affcache.seals import Sealed
from affcache.sharing import remote, share
from affcache.sharing.arrivals import Arrivals
from affcache.sharing.moves import Terms
from tests.affcache.sharing.conftest import contents, empty_site, make_shared
from tests.affcache.sharing.faults import ONCE, QUICK, Plan, faulty
from tests.affcache.sharing.servers import Site, through, wire

MOMENTS = 12
CUT = ConnectionResetError(104, "Connection reset by peer")
# Eight threads share the count, and a try is some five operations, so the faults have to lie far
# apart for six tries to be enough: at every 17th one file in a few hundred met six in a row.
NOW_AND_THEN = range(3, 2000, 53)


def at(site: Site) -> remote.Remote:
    return remote.remote(site.url, site.options, patience=QUICK)


def assert_arrived(site: Site, original: Path, target: Path) -> None:
    """What lies there is whole and equal to what was sent."""
    share.pull(at(site), target)
    assert verify.verify(target) == []
    assert contents(target) == contents(original)
    if site.folder is not None:
        assert verify.verify(site.folder) == []


def operations(act: Callable[[Plan], object]) -> int:
    plan = Plan()
    act(plan)
    return len(plan.done)


def spread(count: int) -> list[int]:
    return sorted({round(x) for x in np.linspace(0, count - 1, MOMENTS)})


def test_a_push_cut_at_any_moment_is_completed_by_the_next(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    clean = quick_site._replace(url=f"{quick_site.url}-clean")
    count = operations(lambda p: share.push(original, faulty(clean.url, {}, p), Terms(jobs=1)))
    for moment in spread(count):
        url = f"{quick_site.url}-{moment}"
        site = quick_site._replace(
            url=url, folder=quick_site.folder and Path(url.removeprefix("file://"))
        )
        plan = Plan(fails={moment: CUT})
        with pytest.raises(RemoteError, match="Connection reset by peer") as caught:
            share.push(original, faulty(url, {}, plan, ONCE), Terms(jobs=1))
        assert "\n" not in str(caught.value)
        with contextlib.suppress(AffcacheError):  # as long as there is no header
            share.pull(at(site), tmp_path / f"half-{moment}")
            assert verify.verify(tmp_path / f"half-{moment}") == []
        share.push(original, at(site))
        assert_arrived(site, original, tmp_path / f"whole-{moment}")


def test_a_pull_cut_at_any_moment_is_completed_by_the_next(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    share.push(original, at(quick_site))
    url = quick_site.url
    count = operations(lambda p: share.pull(faulty(url, {}, p), tmp_path / "clean", Terms(jobs=1)))
    for moment in spread(count):
        target = tmp_path / f"{moment}.zarr"
        plan = Plan(fails={moment: CUT})
        with pytest.raises(RemoteError, match="Connection reset by peer"):
            share.pull(faulty(url, {}, plan, ONCE), target, Terms(jobs=1))
        if target.exists():
            assert verify.verify(target) == [], "what arrived is sound before the rest does"
        assert_arrived(quick_site, original, target)


def test_errors_that_pass_are_tried_again(
    site: Site, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(fails=dict.fromkeys(NOW_AND_THEN, CUT))
    share.push(original, faulty(site.url, site.options, plan))
    assert "trying again" in capsys.readouterr().err
    plan = Plan(fails=dict.fromkeys(NOW_AND_THEN, TimeoutError("timed out")))
    share.pull(faulty(site.url, site.options, plan), tmp_path / "b.zarr")
    assert_arrived(site, original, tmp_path / "b.zarr")


@pytest.mark.parametrize("cuts", [[4000, 9000, 30_000, 60_000], [200, 200, 100_000]], ids=str)
@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_real_connections_that_are_cut_are_made_anew(
    kind: str,
    cuts: list[int],
    original: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    site = empty_site(kind, request, tmp_path)
    patience = remote.Patience(tries=8, pause=0.02)
    with wire(site.port, cut_after=cuts) as port:
        cut = through(site, port)
        share.push(original, remote.remote(cut.url, cut.options, patience=patience))
    with wire(site.port, cut_after=cuts) as port:
        cut = through(site, port)
        there = remote.remote(cut.url, cut.options, patience=patience)
        share.pull(there, tmp_path / "b.zarr")
    assert_arrived(site, original, tmp_path / "b.zarr")


def test_wrong_bytes_on_the_way_are_noticed_and_sent_again(
    site: Site, original: Path, tmp_path: Path
) -> None:
    share.push(original, faulty(site.url, site.options, Plan(garbles=set(range(5, 2000, 53)))))
    plan = Plan(garbles=set(range(20, 2000, 53)))
    share.pull(faulty(site.url, site.options, plan), tmp_path / "b.zarr")
    assert_arrived(site, original, tmp_path / "b.zarr")


def test_wrong_bytes_that_stay_wrong_are_one_line_that_names_the_file(
    site: Site, original: Path, tmp_path: Path
) -> None:
    share.push(original, at(site))
    name = "videos/v01/features/c/0/0"
    data = bytearray(at(site).read(name))
    data[7] ^= 1
    at(site).write(name, bytes(data))
    with pytest.raises(RemoteError, match=rf"{name}: .* arrived, sealed are .*tried 6 times"):
        share.pull(at(site), tmp_path / "b.zarr")
    assert "v01" not in store.Cache(tmp_path / "b.zarr").video_ids()
    assert verify.verify(tmp_path / "b.zarr") == []
    data[7] ^= 1
    at(site).write(name, bytes(data))
    assert_arrived(site, original, tmp_path / "b.zarr")


def test_a_missing_object_is_one_line_that_names_it(
    site: Site, original: Path, tmp_path: Path
) -> None:
    share.push(original, at(site))
    name = "videos/v01/time/c/0"
    data = at(site).read(name)
    at(site).remove(name)
    with pytest.raises(RemoteError, match=rf"{name}: .*(NotFound|NoSuchFile)"):
        share.pull(at(site), tmp_path / "b.zarr")
    at(site).write(name, data)
    assert_arrived(site, original, tmp_path / "b.zarr")


def test_what_arrived_whole_is_not_sent_again(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    url = quick_site.url
    writes = Plan()
    share.push(original, faulty(f"{url}-clean", {}, writes), Terms(jobs=1))
    sent = [path for name, path in writes.done if name == "write"]
    broken = Plan()
    half = len(writes.done) // 2
    broken.fails = {half: CUT}
    with pytest.raises(RemoteError):
        share.push(original, faulty(url, {}, broken, ONCE), Terms(jobs=1))
    before = [path for name, path in broken.done if name == "write"]
    rest = Plan()
    share.push(original, faulty(url, {}, rest, QUICK), Terms(jobs=1))
    after = [path for name, path in rest.done if name == "write"]
    assert len(before) + len(after) <= len(sent) + 2, "the file that was cut, once more"
    reads = Plan(fails={110: CUT})
    with pytest.raises(RemoteError):
        share.pull(faulty(url, {}, reads, ONCE), tmp_path / "b.zarr", Terms(jobs=1))
    arrived = {p.name for p in (tmp_path / "b.zarr" / ".affcache" / "arriving").rglob("*")}
    assert arrived
    again = Plan()
    share.pull(faulty(url, {}, again), tmp_path / "b.zarr", Terms(jobs=1))
    opened = [path for name, path in again.done if name == "open rb"]
    whole = [path for name, path in reads.done if name == "open rb"]
    twice = {p for p in whole if "/c/" in p} & {p for p in opened if "/c/" in p}
    assert len(twice) <= 2, "the file that was cut, and one that had just begun"


def test_a_lasting_error_is_not_tried_again(quick_site: Site, original: Path) -> None:
    plan = Plan(each=lambda name, path: PermissionError(13, "Permission denied"))
    with pytest.raises(RemoteError, match="Permission denied"):
        share.push(original, faulty(quick_site.url, {}, plan))
    assert len(plan.done) == 1


def test_a_full_disk_there_is_one_line(quick_site: Site, original: Path, tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    plan = Plan(each=lambda name, path: full if name == "write" and len(plan.done) > 60 else None)
    with pytest.raises(RemoteError, match="No space left on device"):
        share.push(original, faulty(quick_site.url, {}, plan))
    share.push(original, at(quick_site))
    assert_arrived(quick_site, original, tmp_path / "b.zarr")


def test_too_little_room_here_is_said_before_anything_moves(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(StorageError, match=r"are to come and 1.0 kB are free"):
        share.pull(remote.remote(str(original)), tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()


def test_a_damaged_cache_is_not_pushed(quick_site: Site, tmp_path: Path) -> None:
    copy = make_shared(tmp_path / "copy.zarr", videos=2)
    chunk = copy / "videos" / "v01" / "features" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[3] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(CacheError, match=r"v01/features/c/0/0: is not what this cache's seal says"):
        share.push(copy, at(quick_site))
    share.pull(at(quick_site), tmp_path / "b.zarr")
    assert "v01" not in store.Cache(tmp_path / "b.zarr").video_ids()


def pull_for_ever(url: str, target: Path) -> None:
    share.pull(remote.remote(url), target, Terms(jobs=2))


def test_a_pull_killed_at_any_moment_is_completed_by_the_next(
    original: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.affcache.sharing.test_share_faults"])
    began = time.monotonic()
    process = context.Process(target=pull_for_ever, args=(str(original), tmp_path / "clean"))
    process.start()
    process.join()
    length = time.monotonic() - began
    for turn in range(5):
        target = tmp_path / f"{turn}.zarr"
        process = context.Process(target=pull_for_ever, args=(str(original), target))
        process.start()
        time.sleep(length * turn / 5)
        process.kill()
        process.join()
        share.pull(remote.remote(str(original)), target)
        assert verify.verify(target) == []
        assert contents(target) == contents(original)


def test_two_pulls_into_one_cache_do_not_mix(original: Path, tmp_path: Path) -> None:
    header = store.Cache(original).header
    there = remote.remote(str(original))
    arrivals = Arrivals(tmp_path / "b.zarr", header)
    with arrivals.open(), pytest.raises(CacheError, match="another pull is at work"):
        share.pull(there, tmp_path / "b.zarr")


def test_an_old_half_sent_file_is_swept_away(original: Path, tmp_path: Path) -> None:
    there = remote.remote(str(tmp_path / "r.zarr"))
    arriving = tmp_path / "r.zarr" / ".affcache" / "arriving"
    arriving.mkdir(parents=True)
    (arriving / "old").write_text("x")
    (arriving / "new").write_text("x")
    os.utime(arriving / "old", (0, 0))
    share.push(original, there)
    assert [path.name for path in arriving.iterdir()] == ["new"]


def test_an_md5_that_the_store_computed_spares_reading_back(s3: Site, original: Path) -> None:
    plan = Plan()
    there = faulty(s3.url.replace("x.zarr", "md5"), s3.options, plan)
    data = b"z" * 100_000
    entry = Sealed(len(data), hashlib.sha256(data).hexdigest())
    there.send("file", entry, lambda: [data], lambda count: None)
    assert "open rb" not in {name for name, _ in plan.done}
    with pytest.raises(CacheError, match="is not what this cache's seal says"):
        there.send("file", entry, lambda: [data[:-1]], lambda count: None)


def test_progress_takes_back_what_went_in_vain(quick_site: Site, original: Path) -> None:
    total: list[int] = []
    there = faulty(quick_site.url, {}, Plan(garbles={1, 3}))
    place = store.Cache(original).place
    sealed = notes.read(place)
    assert sealed is not None
    name = "videos/v00/features/c/0/0"
    there.send(name, sealed[name], lambda: place.blocks(name), total.append)
    assert sum(total) == sealed[name].size


def test_a_file_that_vanishes_when_it_was_sent_is_sent_again(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    hidden = {"left": 3}

    def hide(name: str, path: str) -> Exception | None:
        if name == "open rb" and ("arriving" in path or "/c/" in path) and hidden["left"]:
            hidden["left"] -= 1
            return FileNotFoundError(2, "No such file or directory")
        return None

    share.push(original, faulty(quick_site.url, {}, Plan(each=hide)))
    assert hidden["left"] == 0
    assert_arrived(quick_site, original, tmp_path / "b.zarr")
