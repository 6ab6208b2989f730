"""CSV and ARFF: what is written is read, whoever wrote it, and a mistake names its line."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io.arff import loadarff

from affcache.errors import ForeignError
from affcache.foreign import rows as reading
from affcache.foreign.arff import cut
from affcache.foreign.csvtable import looks_like_openface
from affcache.foreign.rows import Wanted, read_rows
from tests.affcache.foreign.making import openface

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=12)


def whole(
    file_format: str, path: Path, **wanted: object
) -> tuple[np.ndarray, tuple[str, ...], dict[str, np.ndarray]]:
    asked = Wanted(**{"columns": ("*",), "singles": {}} | wanted)  # type: ignore[arg-type]
    blocks = list(read_rows(file_format, path, asked))
    singles = {r: np.concatenate([b.singles[r] for b in blocks]) for r in blocks[0].singles}
    return np.concatenate([b.features for b in blocks]), blocks[0].names, singles


def write(tmp_path: Path, text: str, name: str = "x.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(TEXTS.filter(str.strip), min_size=width, max_size=width, unique_by=str.strip),
            st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=9),
        )
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_csv_of_numbers_is_read_back(
    table: tuple[list[str], list[list[float]]], delimiter: str, ending: str
) -> None:
    names, rows = table
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerows([names, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text.getvalue())
        found, columns, _ = whole("csv", path, delimiter=delimiter)
    np.testing.assert_array_equal(found, np.array(rows))
    assert columns == tuple(name.strip() for name in names)


def test_blanks_around_openfaces_names_and_fields_do_not_count(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(3, 4)
    path = openface(tmp_path / "x.csv", rows, np.array([True, False, True]))
    assert path.read_text().startswith("frame, face_id, timestamp")
    singles = {"valid": "success", "time": "timestamp"}
    found, names, single = whole("csv", path, columns=("gaze_*", "AU*_r"), singles=singles)
    assert names == ("gaze_0_x", "AU01_r")
    np.testing.assert_array_equal(found, rows[:, [0, 2]])
    assert list(single["valid"]) == ["1", "0", "1"]
    assert looks_like_openface(path)
    assert not looks_like_openface(write(tmp_path, "time,a\n0,1\n", "y.csv"))


def test_a_byte_order_mark_and_empty_fields_are_no_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffa,b\n1,\n?,NaN\nnan,4\n")
    found, names, _ = whole("csv", path)
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan, np.nan], [np.nan, 4]])
    assert names == ("a", "b")


def test_an_empty_line_is_a_missing_value_and_never_a_row_less(tmp_path: Path) -> None:
    found, _, _ = whole("csv", write(tmp_path, "\n\na\n1\n\n3\n\n\n"))
    np.testing.assert_array_equal(found[:, 0], [1, np.nan, 3])
    with pytest.raises(ForeignError, match="line 3: 1 fields, expected 2"):
        whole("csv", write(tmp_path, "a,b\n1,2\n\n3,4\n"))


def test_a_name_in_brackets_is_a_name_before_it_is_a_pattern(tmp_path: Path) -> None:
    path = write(tmp_path, "mfcc[1],mfcc[2],mfcc1\n1,2,3\n")
    assert whole("csv", path, columns=("mfcc[2]",))[1] == ("mfcc[2]",)
    assert whole("csv", path, exclude=("mfcc[1]", "mfcc1"))[1] == ("mfcc[2]",)


def test_columns_without_a_header_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, "0.0;1;2\n0.1;3;4\n")
    found, names, singles = whole("csv", path, header=False, delimiter=";", singles={"time": "1"})
    assert names == ("2", "3")
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    assert list(singles["time"]) == ["0.0", "0.1"]


@pytest.mark.parametrize("size", [1, 100, 1 << 23])
def test_the_size_of_the_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    rows = np.arange(40.0).reshape(20, 2)
    path = write(tmp_path, "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    monkeypatch.setattr(reading, "BLOCK_BYTES", size)
    np.testing.assert_array_equal(whole("csv", path)[0], rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n3\n", "line 3: 1 fields, expected 2"),
        ("a,b\n1,2\n3,x7\n", "line 3: b is 'x7', expected a number"),
        ('a,b\n1,"2\n', "line 2: unexpected end of data"),
        ("c,d\n1,2\n", r"the column 'a\*' is not there; there are: c, d"),
        ("a1,t,t\n1,2,3\n", "the column 't' is there twice"),
    ],
)
def test_a_wrong_csv_names_the_line_or_the_column(tmp_path: Path, text: str, message: str) -> None:
    singles = {"time": "t"} if "t" in text else {}
    with pytest.raises(ForeignError, match=message):
        whole("csv", write(tmp_path, text), columns=("a*", "b") if "b" in text else ("a*",),
              singles=singles)  # fmt: skip


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe\xff,1\n")
    for file_format in ("csv", "arff"):
        with pytest.raises(ForeignError, match="cannot be read as text"):
            whole(file_format, tmp_path / "x.csv")


def quoted(text: str, mark: str) -> str:
    """As Weka writes a value."""
    body = text.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"').replace("\t", "\\t")
    return f"{mark}{body}{mark}"


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(st.sampled_from("'\""), min_size=6))
def test_any_quoted_fields_are_cut_apart(texts: list[str], marks: list[str]) -> None:
    fields = [quoted(text, mark) for text, mark in zip(texts, marks, strict=False)]
    assert cut(", ".join(fields)) == texts
    assert cut(",".join([*fields, "1.5", "?", "-3"])) == [*texts, "1.5", "?", "-3"]
    assert cut(",".join(["1.5", *fields])) == ["1.5", *texts]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=9))
def test_numbers_in_arff_are_those_that_scipy_reads(rows: list[list[float]]) -> None:
    text = "@RELATION x\n@ATTRIBUTE a NUMERIC\n@attribute b real\n@attribute c integer\n@DATA\n"
    text += "".join(", ".join(map(repr, row)) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text)
        want, _ = loadarff(path)
        found, names, _ = whole("arff", path)
    np.testing.assert_array_equal(found, np.array(want.tolist()))
    assert names == ("a", "b", "c")


def test_arff_of_every_kind_is_read(tmp_path: Path) -> None:
    text = """% AVEC
@relation 'a b'

@attribute 'name' string
@attribute "frame time"\tnumeric
@attribute 'it\\'s' REAL
@attribute emotion {happy, 'very sad'}
@attribute last numeric
@data
% the first recording
'train_1', 0.00, 1.5, happy, ?
'train_1',0.04,?,'very sad', 2e-3

"""
    found, names, singles = whole(
        "arff",
        write(tmp_path, text),
        columns=("it's", "last"),
        singles={"name": "name", "time": "frame time", "expression": "emotion"},
    )
    assert names == ("it's", "last")
    np.testing.assert_array_equal(found, [[1.5, np.nan], [np.nan, 0.002]])
    assert list(singles["name"]) == ["train_1", "train_1"]
    assert list(singles["time"]) == ["0.00", "0.04"]
    assert list(singles["expression"]) == ["happy", "very sad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@relation x\n@attribute a numeric\n", "there is no @data"),
        ("@relation x\n@data\n1\n", "line 2: data without"),
        ("@attribute a numeric\n@data\n1,2\n", "line 3: 2 fields, expected 1"),
        ("@attribute a numeric\n@data\n{0 1}\n", "line 3: sparse rows"),
        ("@attribute a numeric\n@data\n1, {5}\n", "line 3: sparse rows and instance weights"),
        ("@attribute a numeric\n@data\n'1\n", "line 3: a quote is not closed"),
        ("@attribute a relational\n@data\n1\n", "line 1: .*expected @attribute NAME TYPE"),
        ("time,a\n0,1\n", "line 1: 'time,a', expected @attribute"),
        ("@attribute a numeric\n@data\n'happy'\n", "line 3: a is 'happy', expected a number"),
    ],
)
def test_a_wrong_arff_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        whole("arff", write(tmp_path, text))
