"""Imports as a whole: resumed, refused, split, labelled, and recorded in the provenance."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from affcache import verify
from affcache.commands.exchange import import_
from affcache.errors import AffcacheError, CacheError, ForeignError
from affcache.foreign.pipeline import build
from affcache.foreign.resample import RULES
from affcache.foreign.spectoml import parse_spec
from affcache.publish import VideoWriter
from affcache.store import Cache
from tests.memory import peak_memory

SPEC = """
dataset = "mine"
about = "a test"
[features]
format = "csv"
files = "{id}.csv"
fps = 10
"""
LABELS = '\n[[labels]]\nformat = "csv"\nfiles = "{id}.txt"\nfps = 10\n'


def table(path: Path, header: str, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("v1", "v2", "v3")):
        table(tmp_path / "in" / f"{name}.csv", "a,b", *[f"{k},{t}" for t in range(6)])
    return tmp_path / "in"


def run(spec: str, folder: Path, out: Path) -> list[dict[str, object]]:
    return build(parse_spec(spec, "mine.toml"), folder, folder, out)


def test_a_broken_import_is_completed_and_a_finished_one_changes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, seen = tmp_path / "x.zarr", VideoWriter.publish, []

    def dies_at_the_second(self: VideoWriter, attributes: dict[str, object]) -> None:
        seen.append(self.id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        real(self, attributes)

    monkeypatch.setattr(VideoWriter, "publish", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(SPEC, folder, out)
    assert [r["status"] for r in run(SPEC, folder, out)] == ["kept", "imported", "imported"]
    assert [r["status"] for r in run(SPEC, folder, out)] == ["kept"] * 3
    assert seen == ["v1", "v2", "v2", "v3"]
    assert verify.verify(out) == []


def test_another_file_of_the_same_name_is_refused(folder: Path, tmp_path: Path) -> None:
    run(SPEC, folder, tmp_path / "x.zarr")
    table(folder / "v2.csv", "a,b", "9,9")
    with pytest.raises(ForeignError, match=r"v2\.csv: is not the file that v2 was imported from"):
        run(SPEC, folder, tmp_path / "x.zarr")


def test_another_spec_does_not_mix_into_a_cache(folder: Path, tmp_path: Path) -> None:
    run(SPEC, folder, tmp_path / "x.zarr")
    with pytest.raises(CacheError, match=r"import\.files\.fps: 10\.0 there, 25\.0 now"):
        run(SPEC.replace("10", "25"), folder, tmp_path / "x.zarr")


def test_where_the_files_lie_is_no_part_of_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    run(SPEC, folder, tmp_path / "x.zarr")
    spec = SPEC.replace('"{id}.csv"', '"in/{id}.csv"')
    run(spec, tmp_path, tmp_path / "y.zarr")
    assert Cache(tmp_path / "x.zarr").fingerprint == Cache(tmp_path / "y.zarr").fingerprint


def test_videos_with_other_columns_are_refused(folder: Path, tmp_path: Path) -> None:
    table(folder / "v2.csv", "a,c", "1,2")
    with pytest.raises(ForeignError, match=r"v2\.csv: has 2 feature columns.*'c' instead of 'b'"):
        run(SPEC, folder, tmp_path / "x.zarr")


def test_the_provenance_says_who_what_and_how(folder: Path, tmp_path: Path) -> None:
    table(folder / "v1.txt", "v", *["0.5"] * 6)
    run(SPEC + LABELS + 'task = "va"\nvalence = "v"\n', folder, tmp_path / "x.zarr")
    header = Cache(tmp_path / "x.zarr").header
    assert header["dataset"] == "mine"
    assert header["provenance"]["about"] == "a test"
    assert header["provenance"]["feature_names"] == ["a", "b"]
    assert header["provenance"]["labels"] == {"1. va": RULES["linear"]}
    assert header["provenance"]["spec"].startswith(SPEC)
    assert header["fields"]["columns"]["count"] == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "nothing fits '{id}.csv'; it holds nothing"),
        (["a/v1.csv", "b/v1.csv"], "both are 'v1'"),
        (["Devel 1.csv"], "cannot be a video's id"),
    ],
)
def test_files_that_cannot_be_videos_are_named(
    tmp_path: Path, files: list[str], message: str
) -> None:
    (tmp_path / "in").mkdir()
    for name in files:
        table(tmp_path / "in" / name, "a", "1")
    spec = SPEC.replace('"{id}', '"*/{id}') if any("/" in name for name in files) else SPEC
    with pytest.raises(ForeignError, match=message):
        run(spec, tmp_path / "in", tmp_path / "x.zarr")


def test_an_empty_file_and_a_missing_folder_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ForeignError, match="is not a folder"):
        run(SPEC, tmp_path / "nowhere", tmp_path / "x.zarr")
    table(folder / "v2.csv", "a,b")
    with pytest.raises(ForeignError, match=r"v2\.csv: there is no row for v2"):
        run(SPEC, folder, tmp_path / "x.zarr")


def test_values_beyond_float16_name_the_line_and_the_column(folder: Path, tmp_path: Path) -> None:
    table(folder / "v1.csv", "a,b", "1,2", "1,70000")
    with pytest.raises(ForeignError, match=r"v1\.csv, line 3: b is 70000, float16 ends at 65,504"):
        run(SPEC, folder, tmp_path / "x.zarr")


def test_labels_that_no_video_has_are_a_mistake_and_not_a_cache(
    folder: Path, tmp_path: Path
) -> None:
    spec = SPEC + LABELS.replace("{id}", "lab/{id}") + 'task = "va"\nvalence = "v"\n'
    with pytest.raises(ForeignError, match=r"no video has labels of va, such as lab/v1\.txt"):
        run(spec, folder, tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def test_a_column_that_is_always_empty_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(folder / "v2.csv", "a,b", "1,", "2,")
    run(SPEC, folder, tmp_path / "x.zarr")
    assert (
        "v2: no frame has a face; a row that misses a feature has none" in capsys.readouterr().err
    )


def labels(spec: str, folder: Path, out: Path, *rows: str) -> dict[str, np.ndarray]:
    table(folder / "v1.txt", *rows)
    run(SPEC + LABELS + spec, folder, out)
    video = Cache(out).video("v1")
    names = ("va", "expr", "au", "au_intensity")
    return {name: rows for name in names if (rows := video.label(name)) is not None}


def test_valence_is_scaled_and_what_is_missing_is_none(folder: Path, tmp_path: Path) -> None:
    found = labels(
        'task = "va"\nvalence = "v"\narousal = "a"\nscale = 10\nmissing = [-99]\n',
        folder, tmp_path / "x.zarr", "v,a", "5,-10", "-99,0", "10,",
    )  # fmt: skip
    nan = np.nan
    want = [[0.5, -1], [nan, 0], [1, nan], [nan, nan], [nan, nan], [nan, nan]]
    np.testing.assert_array_equal(found["va"], np.array(want, "f4"))


def test_expressions_are_names_or_numbers_of_the_classes(folder: Path, tmp_path: Path) -> None:
    spec = 'task = "expr"\nexpression = "e"\nclasses = ["happiness", "Contempt", "Neutral"]\n'
    rows = ("e", "0", "Neutral", "contempt", "2", "", "happiness")
    found = labels(spec, folder, tmp_path / "x.zarr", *rows)
    np.testing.assert_array_equal(found["expr"], [4, 0, -1, 0, -1, 4])


def test_action_units_and_intensities(folder: Path, tmp_path: Path) -> None:
    units = labels(
        'task = "au"\nunits = { 1 = "AU01_c", 26 = "AU26_c" }\nmissing = [9]\n',
        folder, tmp_path / "x.zarr", "AU01_c,AU26_c", "1,0", "9,1", ",1",
    )["au"]  # fmt: skip
    np.testing.assert_array_equal(units[:, 0], [1, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(units[:, 11], [0, 1, 1, -1, -1, -1])
    assert (units[:, 1:11] == -1).all()
    spec = 'task = "au_intensity"\ncolumns = ["AU*_r"]\nmissing = [-1]\n'
    rows = ("t,AU01_r,AU02_r", "0,1.5,2", "1,-1,3")
    intensities = labels(spec, folder, tmp_path / "y.zarr", *rows)["au_intensity"]
    np.testing.assert_array_equal(intensities[:2], np.array([[1.5, 2], [np.nan, 3]], "f4"))
    attributes = Cache(tmp_path / "y.zarr").video("v1").label_attributes
    assert attributes["au_intensity_names"] == ["AU01_r", "AU02_r"]


@pytest.mark.parametrize(
    ("spec", "rows", "message"),
    [
        ('task = "va"\nvalence = "v"\n', ("v", "7"), r"line 2: valence 7 is outside \[-1, 1\]"),
        ('task = "expr"\n', ("expression", "7"), "line 2: expression '7' is none of Neutral"),
        ('task = "expr"\n', ("expression", "glad"), "expression 'glad' is none of"),
        ('task = "au"\nunits.4 = "a"\n', ("a", "2.5"), "line 2: AU4 is 2.5, expected 0 or 1"),
        ('task = "va"\nvalence = "v"\n', ("a", "1"), "the column 'v' is not there"),
        ('task = "va"\nvalence = "v"\ntime = "t"\n', ("t,v", "1,0", "1,0"), "line 3: time 1 foll"),
        ('task = "va"\nvalence = "v"\n', ("v",), "there is no row for v1"),
    ],
)
def test_labels_that_are_not_what_the_spec_says_are_named(
    folder: Path, tmp_path: Path, spec: str, rows: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AffcacheError, match=message):
        labels(spec, folder, tmp_path / "x.zarr", *rows)


def test_rows_without_times_are_frames_and_a_difference_is_noted(
    folder: Path, tmp_path: Path
) -> None:
    table(folder / "v1.txt", "v", "0.5", "0.25")
    spec = SPEC + LABELS.replace("fps = 10\n", "") + 'task = "va"\nvalence = "v"\n'
    run(spec, folder, tmp_path / "x.zarr")
    video = Cache(tmp_path / "x.zarr").video("v1")
    assert video.label_attributes["notes"] == ["valence: 2 rows for 6 frames"]
    rows = video.label("va")
    assert rows is not None
    np.testing.assert_array_equal(rows[:3, 0], np.array([0.5, 0.25, np.nan], "f4"))
    unlabelled = Cache(tmp_path / "x.zarr").video("v2")
    assert unlabelled.label("va") is None
    assert unlabelled.label_attributes["notes"] == ["valence: there is no v2.txt"]


def test_splits_follow_ids_persons_and_shares(folder: Path, tmp_path: Path) -> None:
    for k, (split, want) in enumerate(
        [
            ('by = "id"\ntrain = ["v1", "v2"]\ntest = ["*"]', ["train", "train", "test"]),
            ('by = "share"\ntrain = 0.5\ntest = 0.5', ["train", "train", "test"]),
            ('by = "subject"\ntrain = ["2"]', ["none", "train", "none"]),
        ]
    ):
        spec = SPEC.replace("[features]", f"subject = 'v(.)'\n[split]\n{split}\n[features]")
        reports = run(spec, folder, tmp_path / f"{k}.zarr")
        assert [r["split"] for r in reports] == want


def test_the_command_wants_one_kind_of_source(tmp_path: Path) -> None:
    for words in ([], ["x.h5", "--features", "f"], ["--features", "f"]):
        done = CliRunner().invoke(import_, [*words, "--out", str(tmp_path / "x.zarr")])
        assert done.exit_code == 2
        assert "give either FILE.h5, or --features with --spec" in done.output


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from affcache.foreign.pipeline import build\n"
        "from affcache.foreign.spectoml import parse_spec\n"
        f"spec = parse_spec({SPEC!r}, 'spec')\n"
        "folder = Path(sys.argv[1])\n"
        "build(spec, folder, folder, folder / 'x.zarr')\n"
    )

    def peak(rows: int) -> int:
        names = ",".join(f"f{k}" for k in range(100))
        line = ",".join(f"{k / 7:.4f}" for k in range(100))
        table(tmp_path / str(rows) / "v1.csv", names, *[line] * rows)
        return peak_memory(program, str(tmp_path / str(rows)))

    few, many = peak(15_000), peak(60_000)
    assert many - few < 20e6, (few, many)
