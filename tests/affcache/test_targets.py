"""Columns of several tasks side by side, and sequences that carry them."""

from pathlib import Path

import numpy as np
import pytest

from affcache.errors import CacheError
from affcache.publish import create
from affcache.sequences import default_pseudo, load_all, load_split
from affcache.store import Cache, write_labels, write_pseudo
from affcache.targets import FIXED, columns, complete, names_of, stored, tasks_in
from affcache.windows import RandomWindows
from tests.caches import publish_video

FRAMES = 40


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Four videos: v0 has all tasks, v1 lacks units, v2 is a validation video for expressions."""
    path = tmp_path / "x.zarr"
    create(path, "several", {"format_version": 1}, {})
    draw = np.random.default_rng(0)
    for number in range(4):
        name = f"v{number}"
        features = draw.normal(size=(FRAMES, 6)).astype(np.float16)
        publish_video(
            path, name, features, np.ones(FRAMES, bool), np.zeros((FRAMES, 2), np.float32)
        )
        labels = {
            "va": draw.uniform(-1, 1, (FRAMES, 2)).astype(np.float32),
            "expr": draw.integers(-1, 7, FRAMES).astype(np.int8),
            "au": draw.integers(-1, 2, (FRAMES, 12)).astype(np.int8),
            "au_intensity": draw.uniform(0, 5, (FRAMES, 5)).astype(np.float32),
        }
        if number == 1:
            del labels["au"]
        split = dict.fromkeys(("va", "expr", "au"), "train")
        if number == 2:
            split["expr"] = "validation"
        named = [f"AU{unit}" for unit in (6, 10, 12, 14, 17)]
        about = {"subject": name, "split": split, "au_intensity_names": named}
        write_labels(path, name, labels, about)
    return path


def test_a_word_of_tasks_is_taken_apart_and_checked() -> None:
    assert tasks_in("va+expr+au") == ("va", "expr", "au")
    with pytest.raises(CacheError, match="'pain' is unknown; there are va, expr, au, au_intensity"):
        tasks_in("va+pain")
    with pytest.raises(CacheError, match="named twice"):
        tasks_in("va+va")


def test_classes_become_columns_of_0_and_1_and_what_is_missing_nan() -> None:
    expressions = columns("expr", np.array([2, -1], np.int8), 2, 7)
    assert expressions[0].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert np.isnan(expressions[1]).all()
    units = columns("au", np.array([[1, 0, -1]], np.int8), 1, 3)
    assert units[0, :2].tolist() == [1, 0]
    assert np.isnan(units[0, 2])


def test_intensities_are_learnt_from_minus_1_to_1_and_kept_from_0_to_5() -> None:
    learnt = columns("au_intensity", np.array([[0.0, 2.5, 5.0]], np.float32), 1, 3)
    assert learnt.tolist() == [[-1, 0, 1]]
    assert stored("au_intensity", learnt).tolist() == [[0, 2.5, 5]]


def test_one_unit_makes_a_frame_count_and_other_tasks_need_all_columns() -> None:
    rows = np.array([[1, np.nan], [np.nan, np.nan], [0, 1]])
    assert complete("au", rows).tolist() == [True, False, True]
    assert complete("va", rows).tolist() == [False, False, True]


def test_a_sequence_has_every_tasks_columns_side_by_side(several: Path) -> None:
    joined = {s.id: s for s in load_all(several, "va+expr+au+au_intensity", None)}
    assert joined["v0"].labels.shape == (FRAMES, 2 + 7 + 12 + 5)
    single = {s.id: s for s in load_all(several, "expr", None)}
    for name, sequence in joined.items():
        np.testing.assert_array_equal(sequence.labels[:, 2:9], single[name].labels)
    assert np.isnan(joined["v1"].labels[:, 9:21]).all()
    assert joined["v1"].counted.all(), "valence and arousal are enough to count"


def test_a_split_hides_labels_of_tasks_that_are_split_otherwise(several: Path) -> None:
    training = {s.id: s for s in load_split(several, "va+expr", None, "train")}
    assert sorted(training) == ["v0", "v1", "v2", "v3"]
    assert np.isnan(training["v2"].labels[:, 2:]).all()
    (validation,) = load_split(several, "va+expr", None, "validation")
    assert validation.id == "v2"
    assert np.isnan(validation.labels[:, :2]).all()
    assert (validation.counted == np.isfinite(validation.labels[:, 2])).all()


def test_intensities_are_called_what_the_annotations_say(several: Path) -> None:
    video = Cache(several).videos()[0]
    assert names_of(video, "au_intensity") == ("AU6", "AU10", "AU12", "AU14", "AU17")
    assert names_of(video, "au") == FIXED["au"]


def test_pseudo_labels_of_a_set_need_every_task(several: Path) -> None:
    assert default_pseudo(several, "va") == "backbone"
    with pytest.raises(CacheError, match="pseudo-labels"):
        default_pseudo(several, "va+au")
    rows = {
        v: {"va": np.zeros((FRAMES, 2)), "au_intensity": np.full((FRAMES, 5), 5.0)}
        for v in Cache(several).video_ids()
    }
    write_pseudo(several, "mine", {}, rows)
    assert default_pseudo(several, "va+au_intensity") == "mine"
    first = load_all(several, "va+au_intensity", "mine")[0]
    assert (first.pseudo[:, 2:] == 1).all()


def test_windows_put_streams_side_by_side(several: Path) -> None:
    streams = ("features", "landmarks")
    sequences = load_split(several, "va", "backbone", "train", streams)
    batch = RandomWindows(sequences, shortest=10, longest=12, batch=3).batch(0)
    assert batch.features.shape[2] == 6 + 10
    assert batch.features.dtype == np.float16
    known = np.concatenate([np.concatenate(s.streams, axis=1) for s in sequences])
    assert (known == batch.features[0, 0]).all(axis=1).any()


def test_a_stream_that_is_not_there_is_named(several: Path) -> None:
    with pytest.raises(CacheError, match="video v0 has no stream 'audio'"):
        load_all(several, "va", None, ("features", "audio"))
