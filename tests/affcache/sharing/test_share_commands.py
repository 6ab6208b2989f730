"""`affcache push` and `affcache pull` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affcache import store, verify
from affcache.cli import main
from affcache.copying.selection import parse_selection
from affcache.errors import CacheError
from affcache.sharing.report import choice, parse_options
from tests.affcache.sharing.conftest import contents


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_cache_goes_there_and_back(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, back = f"file://{tmp_path}/r.zarr", tmp_path / "b.zarr"
    assert run("push", original, there, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert {row["action"] for row in planned} == {"new"}
    assert run("push", original, there, "--json") == 0
    printed = capsys.readouterr()
    rows = {row["kind"]: row for row in json.loads(printed.out)}
    assert rows["videos"]["moved"] == 2
    assert sum(row["bytes"] for row in rows.values()) == sum(row["bytes"] for row in planned)
    assert "/s); 0 unchanged" in printed.err
    assert run("pull", there, back) == 0
    assert contents(back) == contents(original)


def test_a_part_is_pushed_and_a_part_of_it_pulled(original: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "r.zarr", tmp_path / "b.zarr"
    assert run("push", original, there, "--only", "subject=p00", "--without", "pseudo") == 0
    assert store.Cache(there).video_ids() == ["v00"]
    assert store.Cache(there).pseudo_names() == []
    assert run("push", original, there) == 0
    assert run("pull", there, back, "--only", "video=*1", "--without", "labels") == 0
    assert store.Cache(back).video_ids() == ["v01"]
    assert not store.Cache(back).video("v01").label_attributes
    assert verify.verify(there) == verify.verify(back) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "split=train"), "video=PATTERN"),
        (("--without", "box"), "only labels, pseudo or pseudo/NAME can stay behind"),
        (("--option", "nonsense"), "expected KEY=VALUE"),
        ((), "no cache there"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pull", tmp_path / "nothing", tmp_path / "b.zarr", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_place_inside_the_cache_or_around_it_is_refused(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(original)
    (tmp_path / "x.zarr.zip").touch()
    for words, message in (
        (("push", original, original / "inside"), "one lies inside the other"),
        (("push", original, f"file://{original}/videos/../inside"), "one lies inside the other"),
        (("pull", original, original / "inside"), "one lies inside the other"),
        (("push", original, tmp_path / "x.zarr.zip"), "is a file, not a folder"),
        (("pull", tmp_path / "x.zarr.zip", tmp_path / "y"), "affcache unpack"),
        (("push", original, ""), "name a folder"),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err
    assert contents(original) == before
    assert not (original / "inside").exists()


def test_options_are_json_or_words() -> None:
    assert parse_options(["a=1", "b=x=y", "c=null"]) == {"a": 1, "b": "x=y", "c": None}
    with pytest.raises(CacheError, match="expected KEY=VALUE"):
        parse_options(["=1"])


def test_a_set_of_pseudo_labels_can_stay_behind() -> None:
    chosen = choice(parse_selection(["video=v0*"], ["pseudo/readout"]), None)
    assert [g for g in ("videos/v01", "videos/x", "pseudo/readout/v01", "pseudo") if chosen(g)] == [
        "videos/v01",
        "pseudo",
    ]
