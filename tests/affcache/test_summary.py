"""`ls` and `info`: counts that can be checked by hand, for folders and packed files alike."""

import json
from pathlib import Path

import numpy as np
import pytest

from affcache import store
from affcache.cli import main
from affcache.publish import create
from affcache.store import Cache
from affcache.summary import coverage, describe, video_rows
from tests.affcache.copying.packed import packed, tree
from tests.caches import FIELDS, publish_video


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos at 25 frames a second: 50 frames of which 40 with a face, and a single frame."""
    path = tmp_path_factory.mktemp("cache") / "x.zarr"
    create(path, "by hand", FIELDS, {"made by": "tests", "when": "2026-11-21"})
    publish_video(path, "long", np.ones((50, 8)), np.arange(50) < 40)
    publish_video(path, "short", np.ones((1, 8)), np.ones(1, bool))
    va = np.zeros((50, 2))
    va[:10, 1] = np.nan
    au = np.full((50, 12), -1)
    au[5, 3] = 1
    said = {"subject": "[red]p01", "split": {"va": "train", "au": "test"}}
    store.write_labels(path, "long", {"va": va, "au": au, "expr": np.arange(50) % 8 - 1}, said)
    store.write_labels(path, "short", {"va": np.zeros((1, 2))}, {"split": {"va": "train"}})
    store.write_pseudo(path, "teacher", {}, {"long": {"va": va}})
    store.seal(path)
    return path


@pytest.fixture(params=["folder", "zip"])
def path(request: pytest.FixtureRequest, made: Path) -> Path:
    return made if request.param == "folder" else packed(made, replace=True)


def test_a_row_a_video(path: Path, made: Path) -> None:
    long, short = video_rows(Cache(path))
    sizes = {n: len(d) for n, d in tree(made).items()}
    assert long == {
        "video": "long",
        "frames": 50,
        "seconds": 2.0,
        "face": 40,
        "tasks": {"va": 40, "expr": 43, "au": 1},
        "split": {"va": "train", "au": "test"},
        "subject": "[red]p01",
        "bytes": sum(size for name, size in sizes.items() if "/long/" in name),
    }
    assert (short["frames"], short["seconds"], short["subject"]) == (1, 0.04, None)


def test_a_cache_in_figures(path: Path, made: Path) -> None:
    said = describe(Cache(path))
    assert said["kind"] == ("folder" if path == made else "packed file")
    assert (said["dataset"], said["sealed"], said["videos"], said["subjects"]) == (
        "by hand",
        True,
        2,
        1,
    )
    assert (said["frames"], said["face"], said["pseudo"]) == (51, 41, ["teacher"])
    assert said["hours"] == round(2.04 / 3600, 4)
    assert said["arrays"]["features"] == {"dtype": "float16", "width": [8], "videos": 2}
    assert said["provenance"]["when"] == "2026-11-21"
    sizes = {name: len(data) for name, data in tree(made).items()}
    assert said["bytes"] == sum(sizes.values()) - sizes[".affcache/seal.json"]


def test_coverage_a_task_and_split(path: Path) -> None:
    assert coverage(video_rows(Cache(path))) == [
        {"task": "au", "split": "test", "videos": 1, "frames": 50, "labelled": 1, "share": 0.02},
        {"task": "expr", "split": "-", "videos": 1, "frames": 50, "labelled": 43, "share": 0.86},
        {
            "task": "va",
            "split": "train",
            "videos": 2,
            "frames": 51,
            "labelled": 41,
            "share": 0.8039,
        },
    ]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, _ = capsys.readouterr()
    assert end.value.code == 0
    return out


def test_both_print_tables_for_people(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "ls", path)
    assert "long" in out
    assert "[red]" in out  # a stranger's markup is text
    out = run(capsys, "info", path)
    assert "51 (0.00 hours)" in out
    assert "sealed" in out


def test_both_print_json_for_programs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["video"] for row in json.loads(run(capsys, "ls", path, "--json"))] == [
        "long",
        "short",
    ]
    assert json.loads(run(capsys, "info", path, "--json"))["frames"] == 51


def test_an_empty_cache_without_a_seal_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path / "x.zarr", "empty", FIELDS, {})
    said = describe(Cache(tmp_path / "x.zarr"))
    assert (said["videos"], said["frames"], said["hours"], said["sealed"]) == (0, 0, 0.0, False)
    assert "no videos yet" in run(capsys, "ls", tmp_path / "x.zarr")
    assert "not sealed" in run(capsys, "info", tmp_path / "x.zarr")
