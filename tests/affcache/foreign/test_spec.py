"""The spec: every mistake at once, with its line and what was probably meant."""

from pathlib import Path

import pytest

from affcache.errors import ForeignError
from affcache.foreign.spectoml import load_spec, parse_spec

GOOD = """
dataset = "x"
[features]
format = "csv"
files = "{id}.csv"
fps = 25
"""


def wrong(text: str) -> str:
    with pytest.raises(ForeignError) as caught:
        parse_spec(text, "mine.toml")
    return str(caught.value)


def test_the_least_spec_takes_every_column() -> None:
    spec = parse_spec(GOOD, "mine.toml")
    assert spec.features.columns == ("*",)
    assert spec.labels == ()


def test_an_unknown_key_is_a_mistake_with_its_line_and_what_was_meant() -> None:
    said = wrong(GOOD + 'colums = ["a"]\n')
    assert "unknown key features.colums (line 7); did you mean 'columns'?" in said
    assert "unknown key datset" in wrong(GOOD.replace("dataset", "datset"))
    label = '[[labels]]\ntask = "va"\nformat = "csv"\nfiles = "{id}.csv"\nvalence = "v"\n'
    assert "unknown key labels[1].expression" in wrong(GOOD + label + 'expression = "e"\n')
    assert "units.3" in wrong(
        GOOD + label.replace('"va"', '"au"').replace("valence", "units.3") + 'units.4 = "a"\n'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("fps = 25", ""), r"needs time \(a column of seconds\) or fps"),
        (('"csv"', '"xls"'), "features.format .* is 'xls', expected csv or openface or arff"),
        (("{id}.csv", "a.csv"), "needs {id} exactly once"),
        (("{id}.csv", "../{id}.csv"), "leaves its folder"),
        (("{id}.csv", "/data/{id}.csv"), "leaves its folder"),
        (("{id}.csv", "**/{id}.csv"), r"write \*/ for every folder"),
        (('"x"', '"a/b"'), "not made of letters"),
        (("fps = 25", 'fps = "25"'), "fps .* is '25', expected a number above 0"),
        (("fps = 25", 'fps = 25\ngroup = "g"'), "only for format = 'hdf5'"),
        (("fps = 25", "fps = 25\nleast_confidence = 0.5"), "needs confidence"),
        (("fps = 25", "fps = 25\ndelimiter = ';;'"), "expected one character"),
        (("dataset", "subject = '('\ndataset"), "not a regular expression"),
        (("dataset", "subject = 'P'\ndataset"), r"needs a \(group\)"),
        (("[features]", "[split]\nby = 'mood'\n[features]"), "split.by is 'mood'"),
        (("dataset =", "dataset"), "not TOML"),
    ],
)
def test_what_cannot_be_is_said(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        parse_spec(GOOD.replace(*change), "mine.toml")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ('task = "mood"', "labels\\[1\\].task is 'mood', expected va or expr"),
        ('task = "va"', "names no column: give valence, arousal or both"),
        ('task = "au"', "names no column: give units"),
        ('task = "va"\nvalence = "v"\nresample = "cubic"', "'cubic' does not suit va"),
        ('task = "expr"\nresample = "linear"', "'linear' does not suit expr"),
        ('task = "va"\nvalence = "v"\nmissing = "-5"', "expected a list of numbers"),
    ],
)
def test_labels_that_cannot_be_are_said(label: str, message: str) -> None:
    table = f'[[labels]]\nformat = "csv"\nfiles = "{{id}}.csv"\n{label}\n'
    with pytest.raises(ForeignError, match=message):
        parse_spec(GOOD + table, "mine.toml")


def test_two_tables_that_give_the_same_are_refused() -> None:
    table = '[[labels]]\nformat = "csv"\nfiles = "{id}.csv"\ntask = "va"\nvalence = "v"\n'
    assert "two [[labels]] tables give va valence" in wrong(GOOD + table + table)
    parse_spec(GOOD + table + table.replace("valence", "arousal"), "mine.toml")


def test_several_mistakes_are_listed_together() -> None:
    said = wrong(GOOD.replace("fps", "fsp").replace('"x"', '""'))
    assert said.startswith("mine.toml: 3 problems\n  - ")


def test_a_spec_that_is_not_there_lists_the_examples(tmp_path: Path) -> None:
    with pytest.raises(ForeignError, match="examples by name: avec, npz, openface"):
        load_spec("nowhere")


def test_an_example_is_found_beside_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "avec").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_spec("avec").dataset == "recola"


def test_openfaces_own_columns_need_not_be_named() -> None:
    spec = parse_spec(GOOD.replace('"csv"', '"openface"').replace("fps = 25", ""), "m").features
    assert (spec.files.time, spec.valid, spec.confidence) == ("timestamp", "success", "confidence")
    assert spec.frame == "frame"
    assert spec.exclude == ("face_id",)
