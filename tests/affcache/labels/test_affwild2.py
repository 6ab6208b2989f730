"""Aff-Wild2's three kinds of files: what is written is read, what is malformed is named."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affcache import manifest
from affcache.errors import LabelError
from affcache.labels import read
from affcache.schema import ACTION_UNITS, EXPRESSIONS
from tests.affcache.labels.conftest import Read, row
from tests.trees import EIGHT_UNITS, affwild2_tree, write_au, write_expr, write_va

EXPR = ",".join(EXPRESSIONS)
EIGHT = ",".join(f"AU{unit}" for unit in EIGHT_UNITS)

affect = st.floats(-1, 1, width=32) | st.just(float("nan"))
lengths = st.integers(1, 30)


@given(lengths.flatmap(lambda n: arrays(np.float32, (n, 2), elements=affect)))
def test_written_valence_and_arousal_are_read_back(va: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v.txt"
        write_va(path, va)
        found = read("affwild2", row("va", path), np.zeros(len(va)))
    np.testing.assert_array_equal(found.arrays["va"], va)
    assert found.notes == ()


@given(lengths.flatmap(lambda n: arrays(np.int8, n, elements=st.integers(-1, 6))), st.booleans())
def test_written_expressions_are_read_back(expr: np.ndarray, other: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v.txt"
        write_expr(path, expr, other=other)
        found = read("affwild2", row("expr", path), np.zeros(len(expr)))
    np.testing.assert_array_equal(found.arrays["expr"], expr)


@given(st.data())
def test_written_action_units_land_in_their_columns_in_any_order(data: st.DataObject) -> None:
    units = data.draw(st.lists(st.sampled_from(ACTION_UNITS), min_size=1, unique=True))
    rows = data.draw(lengths)
    values = data.draw(arrays(np.int8, (rows, len(units)), elements=st.integers(-1, 1)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v.txt"
        write_au(path, values, units)
        found = read("affwild2", row("au", path), np.zeros(rows)).arrays["au"]
    for column, unit in enumerate(ACTION_UNITS):
        expected = values[:, units.index(unit)] if unit in units else np.full(rows, -1)
        np.testing.assert_array_equal(found[:, column], expected)


@given(lengths, lengths)
def test_other_lengths_keep_the_common_part_and_say_both_numbers(rows: int, frames: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v.txt"
        write_va(path, np.full((rows, 2), 0.5))
        found = read("affwild2", row("va", path), np.zeros(frames))
    va = found.arrays["va"]
    assert len(va) == frames
    assert (va[: min(rows, frames)] == 0.5).all()
    assert np.isnan(va[rows:]).all()
    if rows == frames:
        assert found.notes == ()
    else:
        assert found.notes[0].startswith(f"va: {rows} rows for {frames} frames;")


def test_a_whole_tree_is_read_as_it_was_meant(tmp_path: Path) -> None:
    tree = affwild2_tree(tmp_path, frames=20)
    for found in manifest.resolve(manifest.load("affwild2"), tree.root):
        if found.annotations:
            arrays = read("affwild2", found, np.arange(20) / 25).arrays
            for task, expected in tree.truth[found.id].items():
                np.testing.assert_allclose(arrays[task], expected, atol=1e-6)


def test_a_row_of_fives_is_no_label_and_one_five_only_half(read_text: Read) -> None:
    found = read_text("affwild2", "va", "valence,arousal\n-5,-5\n-5.0,0.25\n0.5,-0.25\n")
    expected = [[np.nan, np.nan], [np.nan, 0.25], [0.5, -0.25]]
    np.testing.assert_array_equal(found.arrays["va"], np.array(expected, "f4"))


def test_other_is_none_of_the_seven_and_is_said(read_text: Read) -> None:
    found = read_text("affwild2", "expr", f"{EXPR},Other\n6\n7\n-1\n")
    assert found.arrays["expr"].tolist() == [6, -1, -1]
    assert found.notes == ("expr: 1 frames of 'Other' are unlabelled, it is none of the seven",)


def test_au20_is_none_of_the_twelve_and_is_said(read_text: Read) -> None:
    found = read_text("affwild2", "au", f"{EIGHT}\n1,0,1,0,1,0,1,0\n" + "-1," * 7 + "-1\n", 2)
    au = dict(zip(ACTION_UNITS, found.arrays["au"].T.tolist(), strict=True))
    assert {unit: values[0] for unit, values in au.items() if unit in EIGHT_UNITS} == {
        1: 1,
        2: 0,
        4: 1,
        6: 0,
        12: 1,
        15: 0,
        25: 0,
    }
    assert all(values == [-1, -1] for unit, values in au.items() if unit not in EIGHT_UNITS)
    assert found.notes == ("au: AU20 is none of the twelve and left out",)


def test_windows_line_ends_a_byte_order_mark_and_blanks_do_no_harm(read_text: Read) -> None:
    found = read_text("affwild2", "va", "\ufeffvalence, arousal\r\n0.5 ,-0.5\r\n\r\n", 1)
    np.testing.assert_array_equal(found.arrays["va"], np.array([[0.5, -0.5]], "f4"))


def test_a_file_of_another_video_looks_suspicious(read_text: Read) -> None:
    found = read_text("affwild2", "va", "valence,arousal\n" + "0,0\n" * 200, 100)
    assert "is it this video's file?" in found.notes[0]


@pytest.mark.parametrize(
    ("task", "text", "line", "said"),
    [
        ("va", "", 1, "the file is empty, expected a header"),
        ("va", "arousal,valence\n0,0\n", 1, "header 'arousal,valence', expected 'valence,arousal'"),
        ("va", "valence,arousal\n0.1,0.2\n0.1\n", 3, "1 fields, expected 2 (valence, arousal)"),
        ("va", "valence,arousal\n0.1,0.2,0.3\n", 2, "3 fields, expected 2"),
        ("va", "valence,arousal\n0.1,x\n", 2, "arousal is 'x', expected a number"),
        ("va", "valence,arousal\nnan,0\n", 2, "valence is 'nan', expected a number"),
        ("va", "valence,arousal\n1_0,0\n", 2, "valence is '1_0', expected a number"),
        ("va", "valence,arousal\n0,0\n7.2,0\n", 3, "valence 7.2 is outside [-1, 1]; -5 means none"),
        ("va", "valence,arousal\n0,0\n\n0,0\n", 3, "empty line in the middle of the file"),
        ("expr", "Neutral,Anger\n0\n", 1, "header 'Neutral,Anger', expected 'Neutral,Anger,Disgus"),
        ("expr", f"{EXPR}\n7\n", 2, "expression 7 is outside -1..6"),
        ("expr", f"{EXPR},Other\n8\n", 2, "expression 8 is outside -1..7"),
        ("expr", f"{EXPR}\n0.5\n", 2, "expression is '0.5', expected a whole number"),
        ("au", "AU1,AU3\n0,1\n", 1, "header names 'AU3', expected action units out of AU1,AU2"),
        ("au", "AU1,AU1\n0,1\n", 1, "header names an action unit twice"),
        ("au", "AU1,AU2\n0,2\n", 2, "AU2 2 is outside -1..1"),
        ("au", "AU1,AU2\n0\n", 2, "1 fields, expected 2 (AU1, AU2)"),
        ("va", 'valence,arousal\n0,"0\n0,0\n', 3, "unexpected end of data"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    read_text: Read, task: str, text: str, line: int, said: str
) -> None:
    with pytest.raises(LabelError) as error:
        read_text("affwild2", task, text)
    message = str(error.value)
    assert f"v.txt, line {line}: " in message
    assert said in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"valence,arousal\n\xff\xfe\n")
    with pytest.raises(LabelError, match=r"v\.txt: cannot be read as text"):
        read("affwild2", row("va", tmp_path / "v.txt"), np.zeros(1))
