"""Folders of strangers: links, pipes and names that would lead a command astray."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from affcache import publish, store, verify
from affcache.cli import main
from affcache.errors import CacheError, RemoteError
from affcache.sharing.remote import remote
from affcache.store import Cache
from tests.affcache.copying.packed import outside, packed
from tests.caches import FIELDS


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_links_out_of_a_folder_are_not_copied(cache: Path, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    target = cache / "videos" / "v00" / "time"
    if kind == "file":
        target = target / "c" / "0"
    shutil.move(target, secret)
    target.symlink_to(secret)
    with pytest.raises(CacheError, match="symbolic link"):
        packed(cache)
    assert outside(tmp_path, cache, secret) == []


def test_a_folder_of_absurd_depth_is_refused(cache: Path) -> None:
    deep = cache.joinpath("videos", *["d"] * 100)
    deep.mkdir(parents=True)
    with pytest.raises(CacheError, match="too deep"):
        verify.verify(cache)


def writes(cache: Path) -> None:
    """What `affcache label` does to a cache."""
    with store.unsealed(cache):
        store.write_labels(cache, "v00", {"va": np.zeros((40, 2))}, {})


@pytest.mark.parametrize(
    "name",
    [
        *(f".affcache/{name}" for name in ("writers.lock", "swap.lock", "previous-seal.json")),
        *(f".affcache/{name}" for name in ("partial", "seals", "previous-seals")),
        *("labels", "videos", "zarr.json", ".affcache"),
    ],
)
def test_nothing_is_written_or_moved_through_a_link(cache: Path, tmp_path: Path, name: str) -> None:
    target, secret = cache / name, tmp_path / "secret"
    if target.exists():
        shutil.move(target, secret)
    elif target.suffix:
        secret.write_text("precious")
    else:
        secret.mkdir()
    target.symlink_to(secret)
    before = _everything(tmp_path)
    for way in (writes, lambda path: publish.create(path, "x", FIELDS, {})):
        with pytest.raises(CacheError, match="symbolic link"):
            way(cache)
    if name != "zarr.json":
        faults = verify.verify(cache)
        assert "link" in {fault.kind for fault in faults}
        with pytest.raises(CacheError, match="symbolic link"):
            verify.repair(cache, faults)
    assert _everything(tmp_path) == before


def test_repair_moves_a_link_with_its_video_and_leaves_what_it_leads_to(
    cache: Path, tmp_path: Path
) -> None:
    shutil.move(cache / "videos" / "v00", tmp_path / "secret")
    (cache / "videos" / "v00").symlink_to(tmp_path / "secret")
    before = _everything(tmp_path / "secret")
    assert "videos/v00" in verify.repair(cache, verify.verify(cache))
    assert Cache(cache).video_ids() == ["v01"]
    assert _everything(tmp_path / "secret") == before


@pytest.mark.parametrize("name", ["videos/v00/pipe", ".affcache/writers.lock", "zarr.json"])
def test_a_pipe_is_never_waited_for(cache: Path, tmp_path: Path, name: str) -> None:
    (cache / name).unlink(missing_ok=True)
    os.mkfifo(cache / name)
    with pytest.raises(CacheError, match="socket or pipe"):
        writes(cache)
    with pytest.raises(RemoteError, match="device, socket or pipe"):
        remote(str(cache)).read(name)
    if name != "zarr.json":
        assert (name, "link") in {(fault.where, fault.kind) for fault in verify.verify(cache)}


def test_names_of_strangers_cannot_steer_the_terminal(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = cache / "videos" / "a\x1b[2J\nb\udcff"
    shutil.copytree(cache / "videos" / "v00", evil)
    (evil / "time" / "zarr.json").unlink()
    (evil / "time" / "zarr.json").symlink_to("nowhere")
    root = json.loads((cache / "zarr.json").read_bytes())
    root["attributes"]["affcache"]["dataset"] = "d\x1b[31m\ud800"
    (cache / "zarr.json").write_text(json.dumps(root))
    for words in (["info"], ["ls"], ["verify"], ["verify", "--repair"]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, str(cache)])
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert "\x1b" not in text
            assert "\udcff" not in text
        assert stopped.value.code in (0, 1)


def _everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, and what the plain files hold."""
    return {
        path.relative_to(folder).as_posix(): (
            path.read_bytes() if path.is_file() and not path.is_symlink() else None
        )
        for path in folder.rglob("*")
    }
