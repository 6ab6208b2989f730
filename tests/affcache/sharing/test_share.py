"""Sharing, on every kind of place: what arrives is what was sent, and what is there stays."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from affcache import notes, store, verify
from affcache.errors import AffcacheError, CacheError, RemoteError
from affcache.places import FolderPlace
from affcache.publish import VideoWriter
from affcache.seals import seal_bytes
from affcache.sharing import remote, share
from affcache.sharing.moves import Terms
from tests.affcache.sharing.conftest import contents, make_shared
from tests.affcache.sharing.faults import Plan, faulty
from tests.affcache.sharing.servers import Site
from tests.caches import make_cache


def at(site: Site) -> remote.Remote:
    return remote.remote(site.url, site.options)


def groups(outcome: share.Outcome) -> set[str]:
    return {move.group for move in outcome.moves}


def test_what_is_pulled_is_what_was_pushed(site: Site, original: Path, tmp_path: Path) -> None:
    pushed = share.push(original, at(site))
    assert len(pushed.moves) == 2 * 3 + 4
    pulled = share.pull(at(site), tmp_path / "b.zarr")
    assert groups(pulled) == groups(pushed)
    assert verify.verify(tmp_path / "b.zarr") == []
    assert contents(tmp_path / "b.zarr") == contents(original)


def test_a_folder_that_was_pushed_to_is_a_cache(site: Site, original: Path) -> None:
    if site.folder is None:
        pytest.skip("its files lie in no folder")
    share.push(original, at(site))
    assert verify.verify(site.folder) == []
    there, here = store.Cache(site.folder), store.Cache(original)
    assert there.video_ids() == here.video_ids()
    np.testing.assert_array_equal(
        there.video("v01").array("features"), here.video("v01").array("features")
    )


def test_what_is_unchanged_moves_no_bytes(site: Site, original: Path, tmp_path: Path) -> None:
    share.push(original, at(site))
    plan = Plan()
    again = share.push(original, faulty(site.url, site.options, plan))
    assert again.moves == ()
    assert len(again.unchanged) == 2 * 3 + 4
    touched = {path.split(".zarr/")[-1] for name, path in plan.done if name.startswith("open")}
    assert touched <= {"zarr.json"}, "nothing but the header was read or written"
    share.pull(at(site), tmp_path / "b.zarr")
    assert share.pull(at(site), tmp_path / "b.zarr").moves == ()


def test_only_what_is_new_moves(quick_site: Site, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "a.zarr", videos=1, frames=30, width=8)
    share.push(cache, at(quick_site))
    more = make_cache(tmp_path / "more.zarr", videos=2, frames=30, width=8)
    assert groups(share.push(more, at(quick_site))) == {"videos/v01", "labels/v01"}


def test_a_dry_run_lists_and_moves_nothing(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    planned = share.push(original, at(quick_site), Terms(dry_run=True))
    with pytest.raises(RemoteError, match="no cache there"):
        share.pull(at(quick_site), tmp_path / "b.zarr")
    assert share.push(original, at(quick_site)).moves == planned.moves
    planned = share.pull(at(quick_site), tmp_path / "b.zarr", Terms(dry_run=True))
    assert not (tmp_path / "b.zarr").exists()
    assert share.pull(at(quick_site), tmp_path / "b.zarr").moves == planned.moves


def test_another_extraction_is_refused_and_the_difference_named(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    share.push(original, at(quick_site))
    other = make_cache(tmp_path / "other.zarr", videos=1, frames=30, width=8)
    document = json.loads((other / "zarr.json").read_text())
    header = document["attributes"]["affcache"]
    header["fields"]["decoder"] = "another"
    header["fingerprint"] = store.fingerprint(header["fields"])
    with store.unsealed(other):
        store.write_group(other, {"affcache": header})
    with pytest.raises(CacheError, match=r"another way \(decoder: "):
        share.push(other, at(quick_site))
    with pytest.raises(CacheError, match=r"another way \(decoder: "):
        share.pull(at(quick_site), other)


def relabelled(path: Path) -> Path:
    """The shared cache with other labels and with one video of other content."""
    make_shared(path, videos=2)
    with store.unsealed(path):
        store.write_labels(path, "v00", {"va": np.ones((30, 2))}, {"subject": "p00"})
        video = store.Cache(path).video("v01")
        arrays = {n: np.array(video.array(n)) for n in ("features", "valid", "time", "box")}
        arrays |= {n: np.array(video.array(n)) for n in ("landmarks", "score")}
        arrays["time"] += 1
        with VideoWriter(path, "v01", {}) as writer:
            writer.append(arrays)
            writer.publish(video.attributes)
    return path


def test_other_content_of_the_same_name_needs_force_on_push(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    changed = relabelled(tmp_path / "changed.zarr")
    share.push(original, at(quick_site))
    with pytest.raises(RemoteError, match=r"2 of these names: labels/v00, videos/v01; nothing"):
        share.push(changed, at(quick_site))
    share.pull(at(quick_site), tmp_path / "b.zarr")
    assert contents(tmp_path / "b.zarr") == contents(original), "a refusal changes nothing"
    share.push(changed, at(quick_site), Terms(force=True))
    share.pull(at(quick_site), tmp_path / "c.zarr")
    assert contents(tmp_path / "c.zarr") == contents(changed)
    if quick_site.folder is not None:
        assert verify.verify(quick_site.folder) == []


def test_other_content_of_the_same_name_needs_force_on_pull(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    changed = relabelled(tmp_path / "changed.zarr")
    before = contents(changed)
    share.push(original, at(quick_site))
    with pytest.raises(RemoteError, match=r"has other content under 2 of these names"):
        share.pull(at(quick_site), changed)
    assert contents(changed) == before
    share.pull(at(quick_site), changed, Terms(force=True))
    assert contents(changed) == contents(original)
    assert verify.verify(changed) == []


def test_pseudo_labels_of_another_model_are_replaced_as_a_whole(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    fewer = make_cache(tmp_path / "fewer.zarr", videos=2, frames=30, width=8)
    with store.unsealed(fewer):
        rows = {"v00": {"va": np.zeros((30, 2))}}
        store.write_pseudo(fewer, "readout", {"method": "another"}, rows)
    share.push(original, at(quick_site))
    with pytest.raises(RemoteError, match=r"names: pseudo/readout, "):
        share.push(fewer, at(quick_site))
    share.push(fewer, at(quick_site), Terms(force=True))
    copy = make_shared(tmp_path / "copy.zarr", videos=2)
    share.pull(at(quick_site), copy, Terms(force=True))
    assert contents(copy) == contents(fewer)
    if quick_site.folder is not None:
        assert verify.verify(quick_site.folder) == []


def push_in_a_process(cache: Path, site: Site) -> None:
    share.push(cache, at(site), Terms(jobs=2))


def test_two_people_who_push_at_once_lose_nothing(site: Site, tmp_path: Path) -> None:
    whole = make_shared(tmp_path / "whole.zarr", videos=4)
    halves = []
    for person, kept in (("one", "v00 v02"), ("two", "v01 v03")):
        half = make_shared(tmp_path / f"{person}.zarr", videos=4)
        with store.unsealed(half):
            for video in set(store.Cache(half).video_ids()) - set(kept.split()):
                for folder in ("videos", "labels", "pseudo/readout"):
                    shutil.rmtree(half / folder / video)
        halves.append(half)
    if site.url.startswith("memory"):
        start = threading.Thread  # another process would have a memory of its own
    else:
        start = multiprocessing.get_context("spawn").Process
    people = [start(target=push_in_a_process, args=(half, site)) for half in halves]
    for person in people:
        person.start()
    for person in people:
        person.join()
        assert getattr(person, "exitcode", 0) == 0
    share.pull(at(site), tmp_path / "all.zarr")
    assert contents(tmp_path / "all.zarr") == contents(whole)
    assert verify.verify(tmp_path / "all.zarr") == []
    if site.folder is not None:
        assert verify.verify(site.folder) == []


def test_different_content_pushed_at_once_under_one_name_is_noticed(
    quick_site: Site, original: Path, tmp_path: Path
) -> None:
    other = relabelled(tmp_path / "other.zarr")
    share.push(original, at(quick_site))
    there = at(quick_site)
    files = notes.group_files(
        store.Cache(other).place, notes.survey(store.Cache(other).place), "videos/v01"
    )
    there.write(notes.note_name("videos/v01", notes.digest(files)), seal_bytes(files))
    with pytest.raises(CacheError, match="videos/v01 was sealed with different content"):
        share.pull(at(quick_site), tmp_path / "b.zarr")
    share.push(original, at(quick_site), Terms(force=True))
    share.pull(at(quick_site), tmp_path / "b.zarr")
    assert contents(tmp_path / "b.zarr") == contents(original)


def test_a_sealed_cache_that_nobody_pushed_is_pulled_too(original: Path, tmp_path: Path) -> None:
    share.pull(remote.remote(str(original)), tmp_path / "b.zarr")
    assert contents(tmp_path / "b.zarr") == contents(original)


def test_what_no_seal_covers_is_found_in_one_walk(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(original, tmp_path / "b.zarr")
    shutil.rmtree(tmp_path / "b.zarr" / ".affcache")
    walks, files = [], FolderPlace.files
    monkeypatch.setattr(FolderPlace, "files", lambda self: walks.append(self) or files(self))
    assert share.pull(remote.remote(str(original)), tmp_path / "b.zarr").moves == ()
    assert len(walks) == 1


def test_pushing_to_a_sealed_cache_adds_to_it(original: Path, tmp_path: Path) -> None:
    small = make_cache(tmp_path / "small.zarr", videos=1, frames=30, width=8)
    make_cache(tmp_path / "one.zarr", videos=1, frames=30, width=8)
    share.push(original, remote.remote(str(small)))
    assert verify.verify(small) == []
    with store.unsealed(small):
        pass
    assert contents(small) == contents(original), "sealing folds the notes into one seal"
    assert not list((small / ".affcache" / "seals").rglob("*.json"))


def test_a_cache_that_is_being_changed_is_not_shared(original: Path, tmp_path: Path) -> None:
    copy = make_shared(tmp_path / "copy.zarr", videos=2)
    with store.unsealed(copy):
        for act in (
            lambda: share.push(copy, remote.remote(str(tmp_path / "there"))),
            lambda: share.pull(remote.remote(str(copy)), tmp_path / "here"),
            lambda: share.push(original, remote.remote(str(copy))),
        ):
            with pytest.raises(CacheError, match="is being changed"):
                act()


def test_a_folder_with_something_else_is_left_alone(quick_site: Site, original: Path) -> None:
    at(quick_site).write("thesis.tex", b"precious")
    with pytest.raises(RemoteError, match=r"holds 'thesis.tex' and no cache"):
        share.push(original, at(quick_site))
    assert set(at(quick_site).files("")) == {"thesis.tex"}


def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for url, extra in (("s3://b/x", "s3"), ("gs://b/x", "gcs"), ("sftp://h/x", "sftp")):
        with pytest.raises(RemoteError, match=rf"pip install 'affcache\[{extra}\]'"):
            remote.remote(url)


@pytest.mark.parametrize("url", ["nonsense://x/y", "memory://", "s3://"])
def test_a_url_that_names_no_folder_is_refused(url: str) -> None:
    with pytest.raises(AffcacheError, match=r"no such kind of URL|name a folder"):
        remote.remote(url)


def test_passwords_are_not_shown() -> None:
    assert remote.remote("sftp://me:secret@host/x").path == "sftp://me@host/x"


@pytest.mark.parametrize("password", ["se#cret", "se/cret", "se?cret", "/secret"])
def test_a_password_that_breaks_its_url_is_not_shown_either(password: str) -> None:
    with pytest.raises(RemoteError, match="%2F, %3F, %23") as caught:
        remote.remote(f"sftp://me:{password}@host:22/x")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sftp://me@host:22/a@b", "file:///a:b/c@d", "s3://b/k:x@y"])
def test_an_at_sign_in_a_path_is_no_password(url: str) -> None:
    assert remote.remote(url).path == url


def test_what_a_driver_logs_is_not_shown() -> None:
    code = (
        "from affcache.sharing.remote import remote; import logging; remote('s3://bucket/x.zarr')\n"
        "logging.getLogger('s3fs.core').error('a page of traceback')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""


def test_an_option_that_a_driver_only_misses_when_it_connects_is_one_line(
    s3: Site, original: Path
) -> None:
    with pytest.raises(RemoteError, match="unexpected keyword argument 'nonsense'"):
        share.push(original, remote.remote(s3.url, s3.options | {"nonsense": 1}))


def test_a_host_that_is_not_known_is_not_trusted(
    sftp: Site, original: Path, tmp_path: Path
) -> None:
    (tmp_path / "nobody").write_text("")
    there = remote.remote(sftp.url, sftp.options | {"known_hosts": str(tmp_path / "nobody")})
    with pytest.raises(RemoteError, match="not trusted"):
        share.push(original, there)
