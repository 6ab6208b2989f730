"""Notes: which group a file belongs to, and two kinds of seal read as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from affcache import notes, store, verify
from affcache.errors import CacheError
from affcache.seals import Sealed, seal_bytes
from tests.affcache.sharing.conftest import contents, make_shared


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("zarr.json", ""),
        ("videos/zarr.json", "videos"),
        ("videos/v1/zarr.json", "videos/v1"),
        ("videos/v1/features/c/0/0", "videos/v1"),
        ("labels/v1/va/zarr.json", "labels/v1"),
        ("pseudo/zarr.json", "pseudo"),
        ("pseudo/readout/zarr.json", "pseudo/readout"),
        ("pseudo/readout/v1/va/c/0/0", "pseudo/readout/v1"),
        ("thesis.tex", None),
        ("videos", None),
        ("videos/stray.txt", None),
        ("pseudo/readout/stray.txt", None),
        ("videos/../zarr.json", None),
        ("videos/.hidden/zarr.json", None),
        ("videos/v1/../../x", None),
        (".affcache/seal.json", None),
    ],
)
def test_every_file_belongs_to_one_group_or_to_none(name: str, group: str | None) -> None:
    assert notes.group_of(name) == group


def test_equal_digests_mean_equal_files() -> None:
    one = {"videos/v1/zarr.json": Sealed(3, "a" * 64), "videos/v1/x": Sealed(1, "b" * 64)}
    assert notes.digest(one) == notes.digest(dict(reversed(one.items())))
    assert notes.digest(one) != notes.digest(one | {"videos/v1/x": Sealed(2, "b" * 64)})


def split_seal(cache: Path) -> None:
    """Turn a cache's one seal into notes, as a place has them that people pushed to."""
    place = store.Cache(cache).place
    for group, files in notes.by_group(notes.read(place) or {}).items():
        path = cache / notes.note_name(group, notes.digest(files))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(seal_bytes(files))
    (cache / notes.SEAL).unlink()


def test_notes_say_what_one_seal_said_and_sealing_folds_them_into_it(tmp_path: Path) -> None:
    cache = make_shared(tmp_path / "a.zarr", videos=2)
    before, whole = contents(cache), notes.read(store.Cache(cache).place)
    split_seal(cache)
    assert notes.read(store.Cache(cache).place) == whole
    assert verify.verify(cache) == []
    with store.unsealed(cache):
        assert notes.read(store.Cache(cache).place) is None, "an open cache has no seal of any kind"
    assert contents(cache) == before
    assert not list((cache / ".affcache" / "seals").rglob("*.json"))


def test_what_notes_seal_is_not_hashed_again_when_they_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_shared(tmp_path / "a.zarr", videos=2)
    split_seal(cache)
    hashed: list[str] = []
    real = store.sha256_of
    monkeypatch.setattr(store, "sha256_of", lambda p: (hashed.append(str(p)), real(p))[1])
    with store.unsealed(cache):
        pass
    assert hashed
    assert not [path for path in hashed if "/videos/v" in path]


def test_a_note_beside_the_seal_overrides_it_for_its_group(tmp_path: Path) -> None:
    cache = make_shared(tmp_path / "a.zarr", videos=2)
    place = store.Cache(cache).place
    files = dict(notes.group_files(place, notes.survey(place), "videos/v01"))
    files["videos/v01/extra"] = Sealed(1, "e" * 64)
    path = cache / notes.note_name("videos/v01", notes.digest(files))
    path.parent.mkdir(parents=True)
    path.write_bytes(seal_bytes(files))
    assert [f.where for f in verify.verify(cache)] == ["videos/v01/extra"]


def test_an_edited_note_and_two_that_differ_are_faults(tmp_path: Path) -> None:
    cache = make_shared(tmp_path / "a.zarr", videos=2)
    split_seal(cache)
    note = next((cache / ".affcache" / "seals" / "videos").glob("v00+*"))
    data = note.read_bytes()
    note.write_bytes(data + b" ")
    assert "seal" in {fault.kind for fault in verify.verify(cache)}
    note.write_bytes(data)
    other = {"videos/v00/zarr.json": Sealed(1, "0" * 64)}
    second = cache / notes.note_name("videos/v00", notes.digest(other))
    second.write_bytes(seal_bytes(other))
    assert "seal" in {fault.kind for fault in verify.verify(cache)}
    with pytest.raises(CacheError, match="videos/v00 was sealed with different content"):
        notes.read(store.Cache(cache).place)
