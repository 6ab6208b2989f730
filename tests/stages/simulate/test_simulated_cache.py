"""A simulated cache is a cache: whole, labelled, split, reproducible, with its truth beside it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from affcache.copying.merge import merged
from affcache.errors import CacheError, SimulationError
from affcache.metrics import ccc
from affcache.sequences import load_split
from affcache.store import Cache
from affcache.verify import verify
from stages.simulate import circumplex
from stages.simulate.cache import (
    Backbone,
    CacheSettings,
    Process,
    simulate_cache,
    truth,
)
from stages.simulate.people import dropped, split_sizes
from stages.simulate.process import Drawn, draw
from stages.simulate.publication import changes

SMALL = CacheSettings(
    videos=8,
    frames=40,
    lag=3,
    lag_jitter=1,
    missing=0.2,
    changes=1,
    folds=2,
    tasks=("va", "expr", "au", "au_intensity"),
    streams={"low": 8, "mid": 5},
    backbone=Backbone(width=16),
)


def contents(path: Path) -> dict[str, bytes]:
    """Every file that says something, by name; locks and the like aside."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    } | {"truth": path.with_name(f"{path.name}.truth.json").read_bytes()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small cache, made once."""
    path = tmp_path_factory.mktemp("simulated") / "one.zarr"
    simulate_cache(path, SMALL, workers=1)
    return path


def test_the_same_settings_make_the_same_bytes_whatever_the_workers(
    cache: Path, tmp_path: Path
) -> None:
    simulate_cache(tmp_path / "one.zarr", SMALL, workers=3)
    assert contents(tmp_path / "one.zarr") == contents(cache)


def test_it_is_whole_and_says_that_it_is_simulated(cache: Path) -> None:
    assert not verify(cache)
    assert "SIMULATED" in Cache(cache).header["provenance"]["about"]
    assert truth(cache)["simulated"] is True
    assert truth(cache)["settings"]["lag"] == 3


def test_heads_can_read_every_task_of_every_split(cache: Path) -> None:
    for task in ("va", "expr", "au", "au_intensity", "va+expr+au"):
        counts = [len(load_split(cache, task, "backbone", s)) for s in ("train", "validation")]
        assert counts == [6, 1]
        for sequence in load_split(cache, task, "backbone", "test"):
            assert sequence.counted.sum() == sequence.valid.sum() > 0
            assert np.isfinite(sequence.pseudo[sequence.valid]).all()
            assert np.isnan(sequence.pseudo[~sequence.valid]).all()
            assert not sequence.features[~sequence.valid].any()


def test_streams_lie_beside_the_features_and_differ_from_them(cache: Path) -> None:
    for video in Cache(cache).videos():
        low, mid = video.array("low"), video.array("mid")
        assert (low.shape, mid.shape) == ((40, 8), (40, 5))
        assert not np.array_equal(low[:, :5], mid)
        assert not low[~video.array("valid")].any()
    (sequence,) = load_split(cache, "va", "backbone", "test", ("features", "low", "mid"))
    assert [stream.shape[1] for stream in sequence.streams] == [16, 8, 5]


def test_labels_of_the_other_tasks_follow_from_valence_and_arousal(cache: Path) -> None:
    for video in Cache(cache).videos():
        va = video.label("va")
        assert va is not None
        for task, rule in (
            ("expr", circumplex.expressions),
            ("au", circumplex.units),
            ("au_intensity", circumplex.intensities),
        ):
            rows = video.label(task)
            assert rows is not None
            np.testing.assert_array_equal(rows, rule(va).astype(rows.dtype))


def test_the_truth_and_the_labels_attributes_agree(cache: Path) -> None:
    document = truth(cache)
    for video in Cache(cache).videos():
        attributes, known = video.label_attributes, document["videos"][video.id]
        assert attributes["subject"] == known["subject"]
        assert set(attributes["split"].values()) == {known["split"]}
        assert (attributes["lag"], attributes["changes"]) == (known["lag"], known["changes"])
        assert set(attributes["folds"].values()) == {int(video.id[-5:]) % 2}
        assert set(attributes["folds"]) == set(attributes["split"]) == set(SMALL.tasks)
    lags = {known["lag"] for known in document["videos"].values()}
    assert len(lags) > 1
    assert lags <= {2, 3, 4}


def test_labels_jump_at_the_changes_and_nowhere_else() -> None:
    process = Process(annotator_variance=0.0)
    settings = CacheSettings(frames=60, changes=2, lag=5, lag_jitter=2, process=process)
    drawn = draw(settings, range(40))
    sizes = np.abs(np.diff(drawn.labels, axis=1)).max(axis=2)
    jump = np.zeros(sizes.shape, bool)
    for i in range(40):
        at = changes(settings, Drawn(*(array[i] for array in drawn)))
        assert len(at) == 2
        jump[i, np.array(at) - 1] = True
    assert np.median(sizes[jump]) > 0.3
    assert sizes[~jump].max() < 0.08


def test_a_video_is_the_same_in_a_larger_cache(cache: Path, tmp_path: Path) -> None:
    simulate_cache(tmp_path / "large.zarr", dataclasses.replace(SMALL, videos=12))
    one, other = (Cache(p).video("s0_v00003") for p in (cache, tmp_path / "large.zarr"))
    np.testing.assert_array_equal(one.array("features"), other.array("features"))


def test_a_task_is_dropped_from_its_share_of_the_training_videos_and_no_other() -> None:
    settings = CacheSettings(videos=600, tasks=("va", "expr"), drop={"va": 0.5, "expr": 0.5})
    gone = [dropped(settings, video) for video in range(600)]
    assert {frozenset(tasks) for tasks in gone[:400]} == {frozenset({"va"}), frozenset({"expr"})}
    assert sum("va" in tasks for tasks in gone) == 200
    assert not any(gone[400:])
    more = dataclasses.replace(settings, drop={"va": 0.8, "expr": 0.8})
    both = [dropped(more, video) == {"va", "expr"} for video in range(400)]
    assert np.mean(both) == pytest.approx(0.6, abs=0.01)


def test_a_video_without_a_tasks_labels_stays_in_its_split(tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, tasks=("va", "expr"), drop={"va": 0.5, "expr": 0.5})
    simulate_cache(tmp_path / "d.zarr", settings)
    for task in ("va", "expr"):
        training = load_split(tmp_path / "d.zarr", task, "backbone", "train")
        labelled = [bool(s.counted.any()) for s in training]
        assert (len(training), sum(labelled)) == (6, 3)


def test_an_interrupted_cache_is_finished_and_a_finished_one_kept(
    cache: Path, tmp_path: Path
) -> None:
    again = tmp_path / "one.zarr"
    simulate_cache(again, SMALL)
    features = again / "videos" / "s0_v00002" / "features" / "c" / "0" / "0"
    before = features.stat().st_mtime_ns
    simulate_cache(again, SMALL)
    assert features.stat().st_mtime_ns == before
    assert contents(again) == contents(cache)


def test_a_cache_of_other_settings_is_not_added_to(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="holds a cache of other settings"):
        simulate_cache(cache, dataclasses.replace(SMALL, seed=1))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(CacheError, match="not empty and not a cache"):
        simulate_cache(tmp_path / "full", SMALL)


def test_a_cache_without_truth_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"no truth beside it; x\.zarr\.truth\.json is"):
        truth(tmp_path / "x.zarr")


def test_caches_of_two_seeds_can_be_merged(cache: Path, tmp_path: Path) -> None:
    simulate_cache(tmp_path / "two.zarr", dataclasses.replace(SMALL, seed=1, lag=0))
    both = merged([Cache(cache), Cache(tmp_path / "two.zarr")])
    published = {name.split("/")[1] for name in both.files if name.startswith("videos/s")}
    assert len(published) == 16


def test_persons_are_shared_by_several_videos_and_stay_in_their_split(tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, subjects=3, splits=(1, 1, 1), folds=None)
    document = simulate_cache(tmp_path / "p.zarr", settings)
    splits: dict[str, set[str]] = {}
    for known in document["videos"].values():
        splits.setdefault(known["subject"], set()).add(known["split"])
    assert sorted(s for own in splits.values() for s in own) == ["test", "train", "validation"]


@pytest.mark.parametrize("people", range(1, 30))
def test_every_person_has_a_split_and_every_split_that_can_be_has_a_person(people: int) -> None:
    sizes = split_sizes(people, (4, 1, 1))
    assert sum(sizes) == people
    assert min(sizes) > 0 or people < 3
    assert split_sizes(people, (1, 0, 0)) == [people, 0, 0]
    assert split_sizes(people, (0, 1, 0)) == [0, people, 0]


def test_the_document_is_plain_json_of_numbers(cache: Path) -> None:
    text = cache.with_name("one.zarr.truth.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == truth(cache)


def test_the_pseudo_labels_ceiling_is_their_score_as_the_cache_tells_it(cache: Path) -> None:
    sequences = load_split(cache, "va", "backbone", "test")
    score = truth(cache)["ceilings"]["va"]["pseudo-labels"]
    for d, name in enumerate(("valence", "arousal")):
        pairs = [(s.labels[s.counted, d], s.pseudo[s.counted, d]) for s in sequences]
        labels, said = (np.concatenate(part) for part in zip(*pairs, strict=True))
        assert score[f"ccc_{name}"] == pytest.approx(ccc(labels, said), abs=1e-5)


def test_without_test_videos_there_is_no_ceiling(tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, splits=(1, 0, 0))
    assert simulate_cache(tmp_path / "t.zarr", settings)["ceilings"]["va"] == {}
    settings = dataclasses.replace(SMALL, splits=(0, 0, 1), seed=3)
    scores = simulate_cache(tmp_path / "u.zarr", settings)["ceilings"]["va"]["smoother"]
    assert "ccc_mean" in scores
    assert "ccc_mean_matched" not in scores
