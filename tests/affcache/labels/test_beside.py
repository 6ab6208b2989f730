"""Annotating a cache: labels beside the features, all or nothing, and a report of what differs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from affcache import manifest
from affcache.errors import LabelError
from affcache.labels.beside import annotate
from affcache.publish import create
from affcache.store import Cache, seal
from tests.affcache.test_cli import run
from tests.caches import FIELDS, publish_video
from tests.trees import Tree, affwild2_tree, sewa_tree

FRAMES = 40


def cache_of(path: Path, name: str, tree: Tree, *, without: tuple[str, ...] = ()) -> Path:
    """A sealed cache with simulated features for every row of a tree."""
    create(path, name, FIELDS, {})
    draw = np.random.default_rng(0)
    for row in manifest.resolve(manifest.load(name), tree.root):
        if row.id not in without:
            publish_video(path, row.id, draw.normal(size=(FRAMES, 8)), np.ones(FRAMES, bool))
    seal(path)
    return path


def files(cache: Path, folder: str) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(cache).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in (cache / folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return affwild2_tree(tmp_path / "data", frames=FRAMES)


@pytest.fixture
def cache(tmp_path: Path, tree: Tree) -> Path:
    return cache_of(tmp_path / "x.zarr", "affwild2", tree)


def words(cache: Path, tree: Tree, *more: str) -> list[str]:
    place = ["--cache", str(cache), "--root", str(tree.root), "--manifest", "affwild2"]
    return ["label", *place, *more]


def test_labels_lie_beside_the_features_with_subject_split_and_rule(
    cache: Path, tree: Tree
) -> None:
    described = manifest.load("affwild2")
    annotate(cache, described, manifest.resolve(described, tree.root))
    for video in Cache(cache).videos():
        for task in ("va", "expr", "au"):
            expected = tree.truth.get(video.id, {}).get(task)
            found = video.label(task)
            if expected is None:
                assert found is None
            else:
                np.testing.assert_allclose(found, expected, atol=1e-6)
    attributes = Cache(cache).video("10-60-1280x720_right").label_attributes
    assert attributes["subject"] == "10-60-1280x720_right"
    assert attributes["split"] == {"va": "validation", "expr": "test", "au": "test"}
    assert attributes["rule"] == "row k of the file is frame k of the video"
    assert attributes["sources"] == {
        "va": "annotations/VA_Set/Validation_Set/10-60-1280x720_right.txt"
    }
    assert attributes["notes"][0].startswith("va: 37 rows for 40 frames")
    assert Cache(cache).video("video99").label_attributes == {}


def test_the_resampling_rule_is_stored_with_the_labels(tmp_path: Path) -> None:
    tree = sewa_tree(tmp_path / "data", frames=FRAMES)
    cache = cache_of(tmp_path / "s.zarr", "sewa", tree)
    described = manifest.load("sewa")
    annotate(cache, described, manifest.resolve(described, tree.root))
    rule = Cache(cache).video("Train_DE_01").label_attributes["rule"]
    assert "linear interpolation of the 10 Hz samples" in rule


def test_the_command_touches_no_feature_and_seals_again(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(cache, "videos")
    status, _, _ = run(capsys, *words(cache, tree))
    assert status == 0
    assert files(cache, "videos") == before
    sealed = json.loads((cache / ".affcache/seal.json").read_text())["files"]
    assert {name for name in sealed if name.startswith("labels/")} == set(files(cache, "labels"))


def test_the_command_counts_labels_per_task_and_split(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *words(cache, tree, "--json"))
    assert status == 0
    table = {(row["task"], row["split"]): row for row in json.loads(out)}
    va = tree.truth["1-30-1280x720"]["va"], tree.truth["10-60-1280x720"]["va"]
    there = sum(
        int((~np.isnan(rows)).any(axis=1).sum()) for rows in (*va, tree.truth["video10_1"]["va"])
    )
    assert table["va", "train"] == {
        "task": "va",
        "split": "train",
        "videos": 3,
        "frames": 3 * FRAMES,
        "labelled": there,
        "with notes": 1,
    }
    units = tree.truth["video7_right"]["au"]
    assert table["au", "validation"]["labelled"] == (units != -1).any(axis=1).sum()
    assert "10-60-1280x720: va: 42 rows for 40 frames; the common 40 are kept" in err
    assert "10-60-1280x720_right: va: 37 rows for 40 frames" in err


def test_the_table_is_for_people(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, *words(cache, tree))
    assert status == 0
    assert "labelled" in out
    assert "validation" in out


def test_a_mistake_in_two_files_is_said_of_both_and_nothing_is_written(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1-30-1280x720", "video10_1"):
        path = tree.root / f"annotations/VA_Set/Train_Set/{name}.txt"
        path.write_text("valence,arousal\n0.1,0.2\n0.1,3.5\n")
    described = manifest.load("affwild2")
    with pytest.raises(LabelError) as error:
        annotate(cache, described, manifest.resolve(described, tree.root))
    for name in ("1-30-1280x720", "video10_1"):
        assert f"{name}.txt, line 3: arousal 3.5 is outside [-1, 1]" in str(error.value)
    before = files(cache, ".")
    status, out, _ = run(capsys, *words(cache, tree))
    assert (status, out) == (2, "")
    assert files(cache, ".") == before


def test_annotated_videos_that_are_not_in_the_cache_are_named(
    tmp_path: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = cache_of(tmp_path / "y.zarr", "affwild2", tree, without=("video10_1", "video7_left"))
    status, _, err = run(capsys, *words(cache, tree))
    assert status == 0
    assert "annotated, but not in the cache: video7_left, video10_1" in err
    assert "video10_1" not in files(cache, "labels")


def test_labels_of_a_video_that_is_not_annotated_any_more_are_kept_and_named(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = run(capsys, *words(cache, tree))
    assert "not annotated any more" not in err
    (tree.root / "annotations/VA_Set/Train_Set/video10_1.txt").unlink()
    status, _, err = run(capsys, *words(cache, tree))
    assert status == 0
    assert "not annotated any more, labels of before are kept: video10_1\n" in err
    assert Cache(cache).video("video10_1").label("va") is not None


def test_another_split_replaces_the_labels(cache: Path, tree: Tree) -> None:
    described = manifest.load("affwild2")
    for folder in ("Train_Set", "Validation_Set"):
        name = tree.root / "annotations/VA_Set" / folder / "video10_1.txt"
        if folder == "Validation_Set":
            (tree.root / "annotations/VA_Set/Train_Set/video10_1.txt").rename(name)
        annotate(cache, described, manifest.resolve(described, tree.root))
    split = Cache(cache).video("video10_1").label_attributes["split"]
    assert split == {"va": "validation", "expr": "test", "au": "test"}


def test_the_cache_of_another_dataset_is_one_clear_line(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = sewa_tree(tmp_path / "sewa", frames=8)
    place = ["--cache", str(cache), "--root", str(tree.root), "--manifest", "sewa"]
    status, out, err = run(capsys, "label", *place)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "has none of the 3 annotated videos of manifest sewa" in err


def test_a_dataset_without_annotations_is_one_clear_line(
    cache: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree.root / "annotations").rename(tree.root / "elsewhere")
    status, out, err = run(capsys, *words(cache, tree))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "none of its 6 rows has an annotation under" in err


def test_no_cache_and_a_packed_one_are_one_clear_line(
    tmp_path: Path, tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, *words(tmp_path / "none.zarr", tree))
    assert (status, err.count("\n")) == (2, 1)
    assert "no cache here" in err
    (tmp_path / "x.zarr.zip").write_bytes(b"")
    status, _, err = run(capsys, *words(tmp_path / "x.zarr.zip", tree))
    assert (status, err.count("\n")) == (2, 1)
    assert "is packed" in err
