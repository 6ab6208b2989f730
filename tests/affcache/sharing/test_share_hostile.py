"""A remote folder made by a stranger: refused by name, and nothing else touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affcache import notes, store
from affcache.errors import AffcacheError, CacheError, RemoteError
from affcache.seals import Sealed
from affcache.sharing import remote, share
from affcache.sharing.moves import Terms
from tests.affcache.sharing.conftest import make_shared
from tests.affcache.sharing.faults import QUICK


def there(folder: Path) -> remote.Remote:
    return remote.remote(str(folder), patience=QUICK)


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """A folder that somebody pushed to, sealed by notes."""
    cache = make_shared(tmp_path / "a.zarr", videos=2)
    share.push(cache, there(tmp_path / "r.zarr"))
    return tmp_path / "r.zarr"


def snapshot(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def seal_by(pushed: Path, group: str, files: dict[str, Any]) -> None:
    """Put a note there whose name fits its content, whatever that is."""
    data = json.dumps({"format_version": 1, "files": files}, indent=1, sort_keys=True).encode()
    for note in (pushed / notes.note_name(group, "x")).parent.glob(f"{group.split('/')[-1]}+*"):
        note.unlink()
    digest = hashlib.sha256(data).hexdigest()[: notes.DIGEST_CHARACTERS]
    (pushed / notes.note_name(group, digest)).write_bytes(data)


def entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "videos/v00/../../../outside",
        "/tmp/outside",
        "videos/v00/..\\outside",
        "videos/v01/zarr.json",
        ".affcache/seal.json",
        "zarr.json",
        "videos/v00/a\nb",
        "videos/v00//x",
        "videos/v00/" + "x" * 300,
    ],
)
def test_names_that_leave_their_group_are_refused(pushed: Path, tmp_path: Path, name: str) -> None:
    good = (pushed / "videos" / "v00" / "zarr.json").read_bytes()
    seal_by(pushed, "videos/v00", {"videos/v00/zarr.json": entry(good), name: entry(b"x")})
    before = snapshot(tmp_path)
    with pytest.raises(CacheError, match=r"is not the seal of a file|damaged or was edited"):
        share.pull(there(pushed), tmp_path / "b.zarr")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {},
        {"bytes": -1, "sha256": "0" * 64},
        {"bytes": True, "sha256": "0" * 64},
        {"bytes": 1.5, "sha256": "0" * 64},
        {"bytes": "1", "sha256": "0" * 64},
        {"bytes": 1, "sha256": "xyz"},
        {"bytes": 1, "sha256": None},
    ],
)
def test_entries_of_the_wrong_type_are_refused(pushed: Path, tmp_path: Path, value: Any) -> None:
    seal_by(pushed, "videos/v00", {"videos/v00/zarr.json": value})
    with pytest.raises(CacheError, match="is not the seal of a file"):
        share.pull(there(pushed), tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"nul\0", b"[" * 100_000, b'{"files": 3}'])
def test_notes_and_headers_that_are_no_documents_are_refused(
    pushed: Path, tmp_path: Path, data: bytes
) -> None:
    note = next((pushed / ".affcache" / "seals" / "videos").glob("v00+*"))
    for path in (note, pushed / "zarr.json", pushed / ".affcache" / "seal.json"):
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        with pytest.raises(AffcacheError) as caught:
            share.pull(there(pushed), tmp_path / "b.zarr")
        assert "\n" not in str(caught.value)
        path.unlink() if before is None else path.write_bytes(before)
    assert not (tmp_path / "b.zarr").exists()


def test_a_file_that_is_longer_than_sealed_is_not_read_to_its_end(
    pushed: Path, tmp_path: Path
) -> None:
    chunk = pushed / "videos" / "v00" / "time" / "c" / "0"
    with chunk.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(RemoteError, match=r"time/c/0: \d+ bytes .* arrived"):
        share.pull(there(pushed), tmp_path / "b.zarr")
    sizes = [p.stat().st_size for p in (tmp_path / "b.zarr").rglob("*") if p.is_file()]
    assert max(sizes) < 100_000


def test_a_seal_that_promises_more_than_the_disk_holds_is_refused(
    pushed: Path, tmp_path: Path
) -> None:
    good = (pushed / "videos" / "v00" / "zarr.json").read_bytes()
    large = {"bytes": 1 << 60, "sha256": "0" * 64}
    files = {"videos/v00/zarr.json": entry(good), "videos/v00/x": large}
    seal_by(pushed, "videos/v00", files)
    with pytest.raises(CacheError, match=r"are to come and .* are free"):
        share.pull(there(pushed), tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.parametrize("link", ["videos", "videos/v07", "videos/v00/time", ".affcache/arriving"])
def test_nothing_is_written_through_a_link(pushed: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    path = pushed / link
    if path.exists():
        shutil.rmtree(path)
    path.symlink_to(outside)
    for note in (pushed / ".affcache" / "seals" / "videos").glob("v00+*"):
        note.unlink()
    more = make_shared(tmp_path / "more.zarr", videos=8)
    with pytest.raises(RemoteError, match="is a link; a cache holds its own files"):
        share.push(more, there(pushed), Terms(force=True))
    assert [p.name for p in outside.rglob("*")] == ["precious"]


def test_links_are_not_pulled(pushed: Path, tmp_path: Path) -> None:
    seals = pushed / ".affcache" / "seals"
    seals.rename(tmp_path / "seals")
    seals.symlink_to(tmp_path / "seals")
    with pytest.raises(RemoteError, match="is a link"):
        share.pull(there(pushed), tmp_path / "b.zarr")


def test_a_video_of_another_extraction_is_not_let_in(pushed: Path, tmp_path: Path) -> None:
    path = pushed / "videos" / "v00" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["fingerprint"] = "f" * 64
    path.write_text(json.dumps(document))
    place = store.Cache(pushed).place
    files = dict(notes.group_files(place, notes.survey(place), "videos/v00"))
    data = path.read_bytes()
    files["videos/v00/zarr.json"] = Sealed(len(data), hashlib.sha256(data).hexdigest())
    seal_by(pushed, "videos/v00", {n: {"bytes": s, "sha256": h} for n, (s, h) in files.items()})
    with pytest.raises(RemoteError, match="videos/v00: was extracted in another way"):
        share.pull(there(pushed), tmp_path / "b.zarr")
    assert "v00" not in store.Cache(tmp_path / "b.zarr").video_ids()


def test_a_header_whose_fingerprint_is_not_its_own_is_refused(pushed: Path, tmp_path: Path) -> None:
    document = json.loads((pushed / "zarr.json").read_text())
    document["attributes"]["affcache"]["fields"]["decoder"] = "else"
    (pushed / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(CacheError, match="its fingerprint is not that of its fields"):
        share.pull(there(pushed), tmp_path / "b.zarr")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.text(max_size=12)
        | st.sampled_from(
            ["videos/v00/zarr.json", "videos/v00/x", "../x", "videos/v00/zarr.json/x"]
        ),
        json_values
        | st.fixed_dictionaries(
            {"bytes": json_values | st.integers(), "sha256": json_values | st.just("0" * 64)}
        ),
        max_size=4,
    )
)
def test_any_seal_is_read_or_refused(pushed: Path, files: dict[str, Any]) -> None:
    seal_by(pushed, "videos/v00", files)
    place = there(pushed)
    found: notes.Files = {}
    with contextlib.suppress(CacheError):
        found = notes.group_files(place, notes.survey(place), "videos/v00")
    assert not found or set(found) == set(files)
    assert all(name.startswith("videos/v00/") for name in found)
