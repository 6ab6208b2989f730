"""Windows: what is drawn, that it is always the same, and what is refused."""

import pickle
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from affcache.errors import CacheError
from affcache.store import Cache, Video, write_labels, write_pseudo
from affcache.windows import (
    RandomWindows,
    Sequence,
    Span,
    consecutive,
    default_pseudo,
    load_all,
    load_split,
)
from tests.caches import make_cache, publish_video


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("windows") / "x.zarr", width=16)


@pytest.fixture(scope="module")
def training(cache):
    return load_split(cache, "va", "backbone", "train")


def plain(frames, counted=None, name="v"):
    """A sequence in memory whose feature, label and pseudo-label is the frame's number."""
    counted = np.ones(frames, bool) if counted is None else counted
    number = np.arange(frames, dtype=np.float32)
    return Sequence(
        id=name,
        subject=name,
        features=np.repeat(number[:, None], 4, 1).astype(np.float16),
        pseudo=np.repeat(number[:, None], 2, 1),
        labels=np.repeat(number[:, None], 2, 1),
        counted=counted,
        valid=np.ones(frames, bool),
        time=number / 25.0,
    )


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sequence_is_what_the_store_says(cache, training):
    assert [s.id for s in training] == ["v00", "v01", "v04", "v05"]
    for s in training:
        video = Cache(cache).video(s.id)
        np.testing.assert_array_equal(s.features, video.array("features"))
        np.testing.assert_array_equal(s.labels, video.label("va"))
        np.testing.assert_array_equal(s.pseudo, video.array("pseudo_va"))
        np.testing.assert_array_equal(s.time, video.array("time"))
        labelled = np.isfinite(video.label("va")).all(1)
        assert 0 < labelled.sum() < len(s)
        np.testing.assert_array_equal(s.counted, video.array("valid") & labelled)
        assert s.subject == video.label_attributes["subject"]


def test_features_stay_a_read_only_view_of_the_file(training):
    features = training[0].features
    assert features.dtype == np.float16
    assert not features.flags.owndata
    assert not features.flags.writeable


def test_a_batch_has_one_length_and_the_documented_types(training):
    lengths = set()
    for k in range(60):
        batch = RandomWindows(training, batch=5).batch(k)
        length = batch.mask.shape[1]
        lengths.add(length)
        assert [a.shape for a in batch] == [
            (5, length, 16),
            (5, length, 2),
            (5, length, 2),
            (5, length),
        ]
        assert [a.dtype for a in batch] == [np.float16, np.float32, np.float32, bool]
        assert (batch.mask.sum(1) >= 3).all()
        assert np.isfinite(batch.labels[batch.mask]).all()
    assert min(lengths) >= 35
    assert max(lengths) <= 70
    assert len(lengths) > 15


def test_a_batch_begins_where_copying_into_it_is_fast(training):
    windows = RandomWindows(training, batch=32)
    batches = [windows.batch(k).features for k in range(8)]
    assert {features.ctypes.data % 64 for features in batches} == {0}
    assert all(features.flags.c_contiguous for features in batches)


def test_every_window_is_consecutive_frames_of_one_video_in_step():
    windows = RandomWindows([plain(200)], batch=20)
    for k in range(20):
        batch = windows.batch(k)
        assert (np.diff(batch.labels[..., 0], axis=1) == 1).all()
        np.testing.assert_array_equal(batch.features[..., 0], batch.labels[..., 0])
        np.testing.assert_array_equal(batch.pseudo, batch.labels)


def test_starts_and_lengths_are_uniform():
    windows = RandomWindows([plain(79)], shortest=60, longest=69, batch=1)
    drawn = [windows.batch(k).labels[0, :, 0] for k in range(3000)]
    lengths = np.bincount([len(d) for d in drawn], minlength=70)[60:]
    assert (abs(lengths - 300) < 5 * np.sqrt(300)).all()
    fixed = RandomWindows([plain(79)], shortest=70, longest=70, batch=100)
    starts = np.concatenate([fixed.batch(k).labels[:, 0, 0] for k in range(30)]).astype(int)
    counts = np.bincount(starts)
    assert len(counts) == 10
    assert (abs(counts - 300) < 5 * np.sqrt(300)).all()


def test_sparse_labels_are_found_and_their_starts_are_uniform():
    counted = np.zeros(5000, bool)
    counted[[2000, 2010, 2020]] = True
    windows = RandomWindows([plain(5000, counted)], shortest=40, longest=40, batch=100)
    starts = np.concatenate([windows.batch(k).labels[:, 0, 0] for k in range(20)]).astype(int)
    assert (starts.min(), starts.max()) == (1981, 2000)
    assert (abs(np.bincount(starts - 1981) - 100) < 50).all()


def test_each_video_comes_once_in_a_batch_if_there_are_enough():
    many = [replace(plain(50), pseudo=np.full((50, 2), i, np.float32)) for i in range(10)]
    drawn = RandomWindows(many, longest=50, batch=10).batch(0).pseudo[:, 0, 0]
    assert sorted(drawn) == list(range(10))
    assert RandomWindows(many[:2], longest=50, batch=10).batch(0).mask.shape[0] == 10


def test_a_video_is_passed_over_in_batches_longer_than_itself_and_never_padded():
    short, middle, long = plain(20, name="a"), plain(40, name="b"), plain(500, name="c")
    windows = RandomWindows([short, middle, long])
    assert windows.unused == ["a"]
    for k in range(30):
        batch = windows.batch(k)
        if batch.mask.shape[1] > 40:
            assert np.unique(batch.labels[:, 0, 0]).size > 5  # all from the long one
    lengths = {RandomWindows([middle]).batch(k).mask.shape[1] for k in range(80)}
    assert lengths == set(range(35, 41))


def test_a_video_without_three_counted_frames_close_together_is_never_drawn():
    counted = np.zeros(300, bool)
    counted[::100] = True
    good = plain(300, name="good")
    windows = RandomWindows([plain(300, counted, "thin"), good])
    assert windows.unused == ["thin"]
    windows.batch(0)


def test_no_window_at_all_is_an_error_with_the_numbers():
    with pytest.raises(CacheError, match=r"of 2 videos none .* 35 to 70 .*longest video 30"):
        RandomWindows([plain(30), plain(20)])
    with pytest.raises(CacheError, match="of 0 videos"):
        RandomWindows([])


def test_settings_that_cannot_be_are_refused():
    for bad in ({"shortest": 0}, {"shortest": 80}, {"batch": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="windows of"):
            RandomWindows([plain(100)], **bad)


def test_a_batch_is_a_function_of_seed_and_number_alone(training):
    windows = RandomWindows(training, seed=3)
    first = [windows.batch(k) for k in range(6)]
    for k in (5, 0, 3):
        same(windows.batch(k), first[k])
        same(RandomWindows(training, seed=3).batch(k), first[k])
    other = RandomWindows(training, seed=4).batch(0)
    assert other.features.shape != first[0].features.shape or not np.array_equal(
        other.features, first[0].features
    )


def test_the_streams_of_numpy_have_not_changed():
    batch = RandomWindows([plain(1000)], batch=4, seed=2**63).batch(2**40)
    assert batch.mask.shape[1] == 55
    assert batch.labels[:, 0, 0].tolist() == [385, 167, 366, 786]


def test_pickles_hold_paths_not_data_and_map_again(training):
    windows = RandomWindows(training, seed=1)
    pickled = pickle.dumps(windows)
    assert len(pickled) < 2000 < training[0].features.nbytes
    again = pickle.loads(pickled)
    same(again.batch(2), windows.batch(2))
    assert not again.sequences[0].features.flags.owndata
    assert len({id(s.origin) for s in again.sequences}) == 1


def test_what_was_put_in_place_of_an_array_survives_a_pickle(training):
    changed = replace(training[0], pseudo=training[0].pseudo + 1)
    again = pickle.loads(pickle.dumps(changed))
    np.testing.assert_array_equal(again.pseudo, changed.pseudo)
    np.testing.assert_array_equal(again.labels, changed.labels)
    in_memory = pickle.loads(pickle.dumps(plain(5)))
    np.testing.assert_array_equal(in_memory.features, plain(5).features)


class Numbered:
    """Batches as a DataLoader's data set."""

    def __init__(self, windows):
        self.windows = windows

    def __len__(self):
        return 12

    def __getitem__(self, k):
        return tuple(self.windows.batch(k))


def as_is(item):
    return item


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_change_nothing(training, method):
    windows = RandomWindows(training, seed=7)
    loader = DataLoader(
        Numbered(windows),
        batch_size=None,
        num_workers=2,
        collate_fn=as_is,
        multiprocessing_context=method,
    )
    batches = list(loader)
    assert len(batches) == 12
    for k, batch in enumerate(batches):
        same(windows.batch(k), batch)


def test_thousands_of_videos_need_no_higher_limit_than_the_hard_one(tmp_path):
    """300 videos under a soft limit of 64 open files."""
    path = make_cache(tmp_path / "x.zarr", videos=1, subjects=1, width=8, frames=40)
    for i in range(1, 300):
        shutil.copytree(path / "videos" / "v00", path / "videos" / f"w{i:03d}")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "from affcache.windows import load_all\n"
        "s = load_all(Path(sys.argv[1]), 'va', 'backbone')\n"
        "print(len(s), sum(int(x.features[5].any()) for x in s))"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 400
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split()[0] == "300"


def test_load_all_gives_every_video_and_nan_where_there_is_nothing(tmp_path):
    path = make_cache(tmp_path / "x.zarr", width=8, labelled=False, pseudo_va=False)
    sequences = load_all(path, "va", None)
    assert len(sequences) == 8
    for s in sequences:
        assert s.subject == s.id
        assert np.isnan(s.labels).all()
        assert np.isnan(s.pseudo).all()
        assert s.labels.shape == s.pseudo.shape == (200, 2)
        assert not s.counted.any()
    assert np.isnan(load_all(path, "va", "backbone")[0].pseudo).all()


def test_expressions_become_columns_of_0_and_1_and_units_may_be_partly_annotated(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=1, subjects=1, frames=4, width=8, gaps=False)
    au = np.full((4, 12), -1)
    au[1, 0], au[2] = 1, 0
    write_labels(path, "v00", {"expr": np.array([4, -1, 0, 6]), "au": au}, {})
    (expr,) = load_all(path, "expr", None)
    assert expr.labels.shape == (4, 7)
    assert expr.labels[[0, 2, 3]].argmax(1).tolist() == [4, 0, 6]
    assert expr.counted.tolist() == [True, False, True, True]
    (units,) = load_all(path, "au", None)
    assert units.counted.tolist() == [False, True, True, False]
    assert units.labels[1, 0] == 1
    assert np.isnan(units.labels[1, 1:]).all()


def test_a_split_without_a_video_is_an_error_that_counts_the_others(tmp_path):
    path = make_cache(tmp_path / "x.zarr", width=8, splits=["train", "train", "train", "test"])
    with pytest.raises(CacheError, match=r"split 'validation' .* test 2, train 6"):
        load_split(path, "va", "backbone", "validation")
    bare = make_cache(tmp_path / "y.zarr", width=8, labelled=False)
    with pytest.raises(CacheError, match="none annotated; write annotations with `affcache label`"):
        load_split(bare, "va", "backbone", "train")


def test_a_split_without_labels_of_the_task_is_an_error(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=2, subjects=1, width=8)
    for name in ("v00", "v01"):
        write_labels(path, name, {}, {"subject": "p", "split": {"va": "train"}})
    with pytest.raises(CacheError, match="2 videos are in split 'train', but none of them has va"):
        load_split(path, "va", "backbone", "train")


def test_missing_pseudo_labels_are_an_error_that_says_who_has_them(cache, tmp_path):
    with pytest.raises(
        CacheError, match="no va pseudo-labels 'teacher'; choose with --pseudo: bac"
    ):
        load_split(cache, "va", "teacher", "train")
    bare = make_cache(tmp_path / "x.zarr", width=8, pseudo_va=False)
    with pytest.raises(CacheError, match=r"affcache readout --cache .* --task va"):
        load_split(bare, "va", "backbone", "train")


def test_an_unknown_task_and_an_empty_cache_are_errors(cache, tmp_path):
    with pytest.raises(CacheError, match="'vas' is unknown; there are va, expr, au"):
        load_all(cache, "vas", None)
    empty = make_cache(tmp_path / "x.zarr", videos=0)
    with pytest.raises(CacheError, match="holds no video yet"):
        load_all(empty, "va", None)
    with pytest.raises(CacheError, match="no cache here"):
        load_all(tmp_path / "nothing.zarr", "va", None)


def test_rows_that_do_not_match_the_frames_are_an_error(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=1, subjects=1, width=8)
    write_labels(path, "v00", {"va": np.zeros((9, 2))}, {})
    with pytest.raises(CacheError, match="v00 has 200 frames, but 9 rows of va labels"):
        load_all(path, "va", None)


def test_videos_of_unlike_feature_widths_are_refused(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=1, subjects=1, width=8)
    publish_video(path, "wide", np.zeros((40, 9)), np.ones(40, bool))
    with pytest.raises(CacheError, match="v00 has 8 features a frame, wide has 9"):
        load_all(path, "va", None)


def test_the_default_pseudo_labels_are_the_backbones_else_the_only_ones(cache, tmp_path):
    assert default_pseudo(cache, "va") == "backbone"
    path = make_cache(tmp_path / "x.zarr", videos=1, subjects=1, width=8, pseudo_va=False)
    with pytest.raises(CacheError, match="no va pseudo-labels; make them with `affcache readout"):
        default_pseudo(path, "va")
    with pytest.raises(CacheError, match="no au pseudo-labels; nor any au labels to fit them"):
        default_pseudo(path, "au")
    write_pseudo(path, "one", {}, {"v00": {"va": np.zeros((200, 2))}})
    assert default_pseudo(path, "va") == "one"
    write_pseudo(path, "two", {}, {"v00": {"va": np.zeros((200, 2))}})
    with pytest.raises(CacheError, match=r"several .* choose with --pseudo: one, two"):
        default_pseudo(path, "va")
    with pytest.raises(CacheError, match="no au pseudo-labels"):
        default_pseudo(path, "au")


@given(st.integers(0, 500), st.integers(1, 90))
def test_consecutive_windows_give_every_frame_once_and_are_as_long_as_can_be(frames, length):
    spans = consecutive(frames, length)
    new = [frame for span in spans for frame in range(span.keep, span.stop)]
    assert new == list(range(frames))
    for span in spans:
        assert 0 <= span.start <= span.keep < span.stop <= frames
        assert span.stop - span.start == min(length, frames)


def test_the_last_consecutive_window_is_shifted_back_to_full_length():
    assert consecutive(100, 70) == [Span(0, 70, 0), Span(30, 100, 70)]
    assert consecutive(50, 70) == [Span(0, 50, 0)]
    with pytest.raises(ValueError, match="neither can be less"):
        consecutive(10, 0)


def test_a_video_object_and_a_sequence_agree_on_length(cache, training):
    place = Cache(cache).place
    assert all(len(Video(place, s.id)) == len(s) for s in training)
