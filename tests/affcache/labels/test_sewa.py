"""SEWA's 10 Hz traces, and the rule that brings them to a video's frames."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import make_interp_spline

from affcache import manifest
from affcache.errors import LabelError
from affcache.labels import read, sewa
from tests.affcache.labels.conftest import Read, row
from tests.trees import sewa_tree, write_sewa

HEADER = "name;timestamp;arousal;valence;liking\n"
affect = st.floats(-1, 1, width=32)


@given(st.integers(2, 30).flatmap(lambda n: arrays(np.float32, (n, 2), elements=affect)))
def test_written_samples_are_read_back_at_their_own_times(va: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "Train_DE_01.csv"
        write_sewa(path, va)
        samples = sewa.read_samples(path)
    np.testing.assert_allclose(samples.time, np.arange(len(va)) / 10, atol=1e-9)
    np.testing.assert_array_equal(samples.va, va)
    np.testing.assert_array_equal(sewa.at_times(samples, samples.time), va)


@given(
    st.integers(2, 30).flatmap(lambda n: arrays(np.float32, (n, 2), elements=affect)),
    st.sampled_from([15, 24000 / 1001, 25, 30, 50]),
)
def test_frames_between_samples_agree_with_scipys_linear_spline(va: np.ndarray, fps: float) -> None:
    samples = sewa.Samples(np.arange(len(va)) / 10, va.astype(float))
    time = np.arange(int((len(va) - 1) / 10 * fps)) / fps
    oracle = make_interp_spline(samples.time, samples.va, k=1)(time)
    np.testing.assert_allclose(sewa.at_times(samples, time), oracle, atol=1e-6)


def test_the_ends_reach_one_sample_and_no_further() -> None:
    samples = sewa.Samples(np.array([1.0, 1.1]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    va = sewa.at_times(samples, np.array([0.85, 0.9, 1.05, 1.2, 1.25]))
    expected = [[np.nan] * 2, [0.1, 0.2], [0.2, 0.3], [0.3, 0.4], [np.nan] * 2]
    np.testing.assert_allclose(va, expected, atol=1e-6)


def test_arousal_comes_first_in_the_file_and_second_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(HEADER + "'v';0.0;0.25;-0.5;0.9\n")
    found = read("sewa", row("va", tmp_path / "v.csv"), np.zeros(1))
    np.testing.assert_array_equal(found.arrays["va"], np.array([[-0.5, 0.25]], "f4"))
    assert "linear interpolation" in found.rule


def test_a_whole_tree_is_read_as_it_was_meant(tmp_path: Path) -> None:
    tree = sewa_tree(tmp_path, frames=50)
    notes = {}
    for found in manifest.resolve(manifest.load("sewa"), tree.root):
        if found.annotations:
            annotation = read("sewa", found, np.arange(50) / 25)
            np.testing.assert_allclose(
                annotation.arrays["va"], tree.truth[found.id]["va"], atol=1e-6
            )
            notes[found.id] = annotation.notes
    assert notes.pop("Devel_DE_01") == (
        "va: 10 samples at 10 Hz (0.00 to 0.90 s) for 50 frames (0.00 to 1.96 s); 24 frames are "
        "left unlabelled",
    )
    assert set(notes.values()) == {()}


def test_a_file_without_samples_labels_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(HEADER)
    found = read("sewa", row("va", tmp_path / "v.csv"), np.zeros(4))
    assert np.isnan(found.arrays["va"]).all()
    assert "0 samples" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name;timestamp;valence;arousal;liking\n", 1, "expected 'name;timestamp;arousal;valence;"),
        (HEADER + "'v';0.0;0.1;0.2\n", 2, "4 fields, expected 5 (name, timestamp, arousal"),
        (HEADER + "v;0.0;0.1;0.2;0\n", 2, "name v, expected 'v' in single quotes"),
        (HEADER + "'w';0.0;0.1;0.2;0\n", 2, "name 'w', expected 'v'"),
        (HEADER + "'v';0.0;1.5;0.2;0\n", 2, "arousal 1.5 is outside [-1, 1]"),
        (HEADER + "'v';0.0;0;-1.01;0\n", 2, "valence -1.01 is outside [-1, 1]"),
        (HEADER + "'v';0.0;0;0;x\n", 2, "liking is 'x', expected a number"),
        (HEADER + "'v';0.0;0;0;0\n'v';0.04;0;0;0\n", 3, "0.04 follows 0, expected 0.1 (10 Hz)"),
        (HEADER + "'v';0.1;0;0;0\n'v';0.0;0;0;0\n", 3, "timestamp 0 follows 0.1"),
        (HEADER + "'v';-0.1;0;0;0\n", 2, "timestamp -0.1 is before the video"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    read_text: Read, text: str, line: int, said: str
) -> None:
    with pytest.raises(LabelError) as error:
        read_text("sewa", "va", text)
    message = str(error.value)
    assert f"v.txt, line {line}: " in message
    assert said in message
