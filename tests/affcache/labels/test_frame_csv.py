"""The table with a row per frame: any order, any further columns, gaps, and a scale."""

import csv
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affcache.errors import LabelError
from affcache.labels import read
from tests.affcache.labels.conftest import Read, row

affect = st.floats(-1, 1, width=32)


@given(
    st.dictionaries(st.integers(0, 40), st.none() | st.tuples(affect, affect)),
    st.permutations(["frame", "valence", "arousal", "note"]),
    st.randoms(),
)
def test_written_rows_land_in_their_frames_in_any_order(
    labels: dict[int, tuple[float, float] | None], columns: list[str], random: Random
) -> None:
    frames = list(labels)
    random.shuffle(frames)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "v.csv"
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            for frame in frames:
                valence, arousal = labels[frame] or ("", "")
                note = 'a, "quoted" remark'
                table.writerow(
                    {"frame": frame, "valence": valence, "arousal": arousal, "note": note}
                )
        va = read("frame-csv", row("va", path), np.zeros(41)).arrays["va"]
    expected = np.full((41, 2), np.nan, np.float32)
    for frame, pair in labels.items():
        if pair is not None:
            expected[frame] = pair
    np.testing.assert_array_equal(va, expected)


def test_a_scale_divides(read_text: Read) -> None:
    found = read_text("frame-csv", "va", "frame,valence,arousal\n0,10,-5\n", 1, scale=10)
    np.testing.assert_array_equal(found.arrays["va"], np.array([[1, -0.5]], "f4"))


def test_other_counts_are_said_with_both_numbers(read_text: Read) -> None:
    few = read_text("frame-csv", "va", "frame,valence,arousal\n1,0,0\n", 3)
    assert few.notes == ("va: 1 rows for 3 frames; the others are unlabelled",)
    beyond = read_text("frame-csv", "va", "frame,valence,arousal\n1,0,0\n2,0,0\n3,1,1\n", 3)
    assert beyond.notes == (
        "va: 3 rows for 3 frames; 1 rows name frames beyond the last, 2, and are left out (the "
        "first frame is 0)",
    )


def test_expressions_are_names_or_numbers(read_text: Read) -> None:
    text = "frame,expression\n0,Happiness\n1,6\n2,\n3,neutral\n"
    assert read_text("frame-csv", "expr", text, 4).arrays["expr"].tolist() == [4, 6, -1, 0]


def test_action_units_are_columns_of_their_own(read_text: Read) -> None:
    text = "frame,AU12,AU1,AU99\n0,1,,5\n1,0,1,\n2,,,\n"
    au = read_text("frame-csv", "au", text, 3).arrays["au"]
    assert au[:, 6].tolist() == [1, 0, -1]
    assert au[:, 0].tolist() == [-1, 1, -1]
    assert (np.delete(au, [0, 6], axis=1) == -1).all()


@pytest.mark.parametrize(
    ("task", "text", "line", "said"),
    [
        ("va", "frame,valence\n0,0\n", 1, "no column arousal for va in 'frame,valence'"),
        ("va", "valence,arousal\n0,0\n", 1, "no column frame for va"),
        ("va", "frame,valence,valence,arousal\n0,0,0,0\n", 1, "the column valence is there twice"),
        ("va", "frame,valence,arousal\n0,0\n", 2, "2 fields, expected 3"),
        ("va", "frame,valence,arousal\n0,0,\n", 2, "must both be given, or both be empty"),
        ("va", "frame,valence,arousal\n0,0,0\n0,0,0\n", 3, "frame 0 stands on line 2 already"),
        ("va", "frame,valence,arousal\n-1,0,0\n", 2, "frame -1 is outside 0.."),
        ("va", "frame,valence,arousal\n0.5,0,0\n", 2, "frame is '0.5', expected a whole number"),
        ("va", "frame,valence,arousal\n0,7.2,0\n", 2, "is outside [-1, 1]; is it on another scale"),
        ("expr", "frame,expression\n0,Happy\n", 2, "expression 'Happy' is none of Neutral, Anger"),
        ("expr", "frame,expression\n0,7\n", 2, "expression 7 is outside 0..6"),
        ("au", "frame,blink\n0,1\n", 1, "no column AU1 or another action unit for au"),
        ("au", "frame,AU1\n0,2\n", 2, "AU1 2 is outside 0..1"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(
    read_text: Read, task: str, text: str, line: int, said: str
) -> None:
    with pytest.raises(LabelError) as error:
        read_text("frame-csv", task, text)
    message = str(error.value)
    assert f"v.txt, line {line}: " in message
    assert said in message
