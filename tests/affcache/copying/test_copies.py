"""Parts and unions of caches: what is chosen is kept, the rest is not, nothing is mixed up."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache import store, verify
from affcache.cli import main
from affcache.copying.contents import Contents, contents
from affcache.copying.merge import merged
from affcache.copying.selection import Selection, parse_selection
from affcache.copying.unpack import write_folder
from affcache.errors import CacheError
from affcache.publish import create
from affcache.store import Cache
from affcache.windows import RandomWindows, load_split
from tests.affcache.copying.packed import packed, part, tree
from tests.caches import FIELDS, make_cache, publish_video


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of four people: two train, one validates, one tests; a teacher; expressions."""
    path = make_cache(tmp_path_factory.mktemp("cache") / "x.zarr", videos=4, frames=30, width=8)
    with store.unsealed(path):
        for number, video in enumerate(Cache(path).videos()):
            said = video.label_attributes
            said["split"] = {**said["split"], "expr": "test" if number == 0 else "train"}
            arrays = {"va": np.array(video.label("va")), "expr": np.full(30, number)}
            store.write_labels(path, video.id, arrays, said)
        teacher = {f"v0{number}": {"va": np.full((30, 2), number / 4)} for number in range(4)}
        store.write_pseudo(path, "teacher", {"method": "constant"}, teacher)
        store.write_pseudo(path, "other", {"method": "none"}, {"v00": {"va": np.zeros((30, 2))}})
    return path


@pytest.fixture(params=["folder", "zip"])
def source(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Path:
    if request.param == "folder":
        return made
    return Path(shutil.move(packed(made, "source.zarr.zip"), tmp_path / "source.zarr.zip"))


def test_everything_is_the_cache_itself(source: Path, made: Path, tmp_path: Path) -> None:
    assert tree(part(source, tmp_path / "y.zarr")) == tree(made)


@pytest.mark.parametrize(
    ("only", "want"),
    [
        (["split.va=train"], ["v00", "v01"]),
        (["split=train"], ["v00", "v01", "v02", "v03"]),
        (["split.va=train,validation"], ["v00", "v01", "v02"]),
        (["split.va=train", "split.expr=test"], ["v00"]),
        (["subject=p0[12]"], ["v01", "v02"]),
        (["video=v00,v03"], ["v00", "v03"]),
        (["video=*", "subject=p03"], ["v03"]),
        (["split.va=train,subject=p01"], ["v01"]),
    ],
)
def test_videos_are_chosen_by_split_subject_and_name(
    source: Path, tmp_path: Path, only: list[str], want: list[str]
) -> None:
    target = part(source, tmp_path / "y.zarr", *only)
    assert verify.verify(target) == []
    cache = Cache(target)
    assert cache.video_ids() == want
    assert cache.place.members("labels") == [*want, "zarr.json"]
    assert cache.place.members("pseudo/teacher") == [*want, "zarr.json"]
    for video in cache.videos():
        number = int(video.id[-1])
        np.testing.assert_array_equal(video.label("expr"), np.full(30, number))
        np.testing.assert_array_equal(
            video.array("features"), Cache(source).video(video.id).array("features")
        )


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ("labels", lambda name: name.startswith("labels/")),
        ("pseudo", lambda name: name.startswith("pseudo/")),
        ("labels/va", lambda name: name.startswith("labels/v") and "/va/" in name),
        ("pseudo/other", lambda name: name.startswith("pseudo/other/")),
        ("pseudo_va", lambda name: "/pseudo_va/" in name),
        ("labels,pseudo", lambda name: name.split("/")[0] in ("labels", "pseudo")),
    ],
)
def test_what_is_named_is_left_out_and_nothing_else(
    made: Path, tmp_path: Path, without: str, gone: Callable[[str], bool]
) -> None:
    target = part(made, tmp_path / "y.zarr", without=without)
    assert verify.verify(target) == []
    kept = {n: d for n, d in tree(made).items() if not gone(n) and n[-9:] != "seal.json"}
    have = {n: d for n, d in tree(target).items() if n[-9:] != "seal.json"}
    assert have.keys() == kept.keys()
    assert {n for n in have if have[n] != kept[n]} == {"zarr.json"}


def test_streams_keeps_the_optional_arrays_that_are_named(made: Path, tmp_path: Path) -> None:
    bare = Cache(part(made, tmp_path / "bare.zarr", streams="none"))
    assert not bare.video("v00").has("pseudo_va")
    assert bare.video("v00").has("features")
    assert (
        Cache(part(made, tmp_path / "with.zarr", streams="pseudo_va")).video("v00").has("pseudo_va")
    )


def test_the_consolidated_metadata_are_those_of_what_is_left(made: Path, tmp_path: Path) -> None:
    target = part(made, tmp_path / "y.zarr", "video=v01", without="labels")
    root = json.loads((target / "zarr.json").read_bytes())
    copies = root["consolidated_metadata"]["metadata"]
    there = {p.parent.relative_to(target).as_posix() for p in target.rglob("zarr.json")} - {"."}
    assert copies.keys() == there
    for name, copy in copies.items():
        assert json.loads((target / name / "zarr.json").read_bytes()) == copy


def test_a_part_says_what_it_is_a_part_of(made: Path, tmp_path: Path) -> None:
    once = part(made, tmp_path / "once.zarr", "split.va=train")
    twice = Cache(part(once, tmp_path / "twice.zarr", without="labels"))
    first, second = twice.header["provenance"]["selections"]
    assert first["only"] == {"split.va": ["train"]}
    assert second["without"] == ["labels"]
    assert twice.fingerprint == Cache(made).fingerprint


def test_the_seal_of_a_part_is_the_one_that_sealing_it_would_write(
    made: Path, tmp_path: Path
) -> None:
    target = part(made, tmp_path / "y.zarr", "video=v01,v02", without="pseudo/other")
    want = tree(target)
    store.unseal(target)
    store.seal(target)
    assert tree(target) == want


@pytest.mark.parametrize(
    ("only", "without", "streams", "message"),
    [
        (["splt=train"], "", None, "'splt=train' is not KEY=VALUE; keys are video, subject"),
        (["split="], "", None, "is not KEY=VALUE"),
        (["train"], "", None, "is not KEY=VALUE"),
        (["split=tset"], "", None, "no video has split=tset; there is test, train, validation"),
        (["video=v00,w*"], "", None, r"no video has video=w\*; there is v00, v01"),
        (["video=v00", "subject=p01"], "", None, "no video meets all"),
        ([], "feature", None, "has no such; there is box, labels, labels/expr, labels/va, landm"),
        ([], "features", None, "cannot be left out"),
        ([], "", "low", "--streams low: .* has no such; there is pseudo_va"),
    ],
)
def test_a_selection_of_what_is_not_there_says_what_is(
    made: Path, only: list[str], without: str, streams: str | None, message: str
) -> None:
    with pytest.raises(CacheError, match=message):
        contents(Cache(made), parse_selection(only, [without], streams))


def test_words_are_parsed_as_the_help_says() -> None:
    assert parse_selection(["split=train, test,subject=a*"], ["labels, x", "y"], "") == Selection(
        only={"split": ("train", "test"), "subject": ("a*",)},
        without=("labels", "x", "y"),
        streams=(),
    )


def write(made: Contents, target: Path) -> Path:
    write_folder(made, target)
    return target


def union(*paths: Path) -> Contents:
    return merged([Cache(path) for path in paths])


def features(path: Path) -> dict[str, np.ndarray]:
    return {video.id: np.array(video.array("features")) for video in Cache(path).videos()}


def test_a_cache_cut_in_parts_is_the_same_when_merged_again(
    source: Path, made: Path, tmp_path: Path
) -> None:
    one = part(source, tmp_path / "one.zarr", "video=v00,v02")
    two = packed(part(source, tmp_path / "two.zarr", "video=v01,v02,v03", without="labels"))
    three = part(source, tmp_path / "three.zarr", "video=v01,v03", streams="none")
    target = write(union(one, two, three), tmp_path / "all.zarr")
    assert verify.verify(target) == []
    have, want = tree(target), tree(made)
    for name in ("zarr.json", ".affcache/seal.json"):
        del have[name], want[name]
    assert have == want
    assert Cache(target).header["provenance"]["merged"][0]["dataset"] == "simulated"


def test_merging_a_cache_with_itself_changes_nothing(made: Path, tmp_path: Path) -> None:
    assert tree(write(union(made, made), tmp_path / "y.zarr")) == tree(made)


def test_caches_of_other_extractions_are_refused_and_the_fields_named(
    made: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.zarr"
    create(other, "test", FIELDS | {"backbone": {"name": "better"}, "crop": 96}, {})
    with pytest.raises(CacheError, match=r"backbone.name: simulated in .*x.zarr, better in .*othe"):
        union(made, other)
    with pytest.raises(CacheError, match=r"crop: absent in .*x.zarr, 96 in "):
        union(made, other)


def other_cache(path: Path, *names: str, frames: int = 30, source: str | None = None) -> Path:
    create(path, "more", FIELDS, {"made by": "tests"})
    with store.unsealed(path):
        for name in names:
            publish_video(path, name, np.ones((frames, 8)), np.ones(frames, bool))
            if source is not None:
                attributes = Cache(path).video(name).attributes | {"fingerprint": source}
                store.write_group(path / "videos" / name, attributes)
    return path


def test_different_videos_come_together_under_both_names(made: Path, tmp_path: Path) -> None:
    more = other_cache(tmp_path / "more.zarr", "w01", "w02")
    target = Cache(write(union(made, more), tmp_path / "y.zarr"))
    assert target.video_ids() == ["v00", "v01", "v02", "v03", "w01", "w02"]
    assert target.header["dataset"] == "simulated+more"
    assert [p["dataset"] for p in target.header["provenance"]["merged"]] == ["simulated", "more"]


def test_a_video_that_both_have_is_taken_from_the_first(made: Path, tmp_path: Path) -> None:
    again = other_cache(tmp_path / "again.zarr", "v01")
    first = features(write(union(made, again), tmp_path / "y.zarr"))["v01"]
    np.testing.assert_array_equal(first, features(made)["v01"])
    second = features(write(union(again, made), tmp_path / "z.zarr"))["v01"]
    np.testing.assert_array_equal(second, np.ones((30, 8)))


def test_all_conflicts_are_listed_and_nothing_is_written(made: Path, tmp_path: Path) -> None:
    other = other_cache(tmp_path / "other.zarr", "v01", "v02", source="another")
    with store.unsealed(other):
        store.write_labels(other, "v00", {"va": np.zeros((30, 2))}, {"subject": "somebody"})
        store.write_pseudo(other, "teacher", {"method": "other"}, {"v03": {"va": np.ones((30, 2))}})
    with pytest.raises(CacheError) as caught:
        union(made, other)
    for conflict in (
        "videos/v01 ",
        "videos/v02 ",
        "labels/v00/va ",
        "labels/v00: subject ",
        "pseudo/teacher ",
        "pseudo/teacher/v03 ",
    ):
        assert f"\n  - {conflict}differs" in str(caught.value)  # a line each
    assert "6 conflicts" in str(caught.value)


def test_a_video_of_another_length_is_a_conflict_even_under_one_fingerprint(
    made: Path, tmp_path: Path
) -> None:
    other = other_cache(tmp_path / "other.zarr", "v01", frames=31)
    with pytest.raises(CacheError, match=r"1 conflicts.*\n  - videos/v01 differs"):
        union(made, other)


def test_annotations_of_different_tasks_are_joined(made: Path, tmp_path: Path) -> None:
    va = part(made, tmp_path / "va.zarr", without="labels/expr")
    expr = part(made, tmp_path / "expr.zarr", without="labels/va")
    with store.unsealed(expr):
        for video in Cache(expr).videos():
            said = {"subject": video.label_attributes["subject"], "split": {"au": "train"}}
            store.write_labels(expr, video.id, {"expr": np.array(video.label("expr"))}, said)
    video = Cache(write(union(va, expr), tmp_path / "y.zarr")).video("v02")
    np.testing.assert_array_equal(video.label("expr"), np.full(30, 2))
    np.testing.assert_array_equal(video.label("va"), Cache(made).video("v02").label("va"))
    splits = {"va": "validation", "expr": "train", "au": "train"}
    assert video.label_attributes == {"subject": "p02", "split": splits}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


def test_the_commands_work_as_their_help_says(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, cold = tmp_path / "one.zarr.zip", tmp_path / "two.zarr", tmp_path / "cold.zarr.zip"
    status, out, err = run(capsys, "pack", made, one, "--only", "split.va=train,validation")
    assert (status, out) == (0, "")
    assert "3 videos" in err
    assert run(capsys, "subset", made, two, "--only", "subject=p03", "--without", "pseudo")[0] == 0
    assert run(capsys, "merge", tmp_path / "all.zarr.zip", one, two)[0] == 0
    status, _, err = run(capsys, "pack", tmp_path / "all.zarr.zip", cold, "--compress")
    assert status == 0
    assert "before training" in err
    assert run(capsys, "unpack", cold, tmp_path / "all.zarr")[0] == 0
    assert run(capsys, "verify", tmp_path / "all.zarr")[0] == 0
    assert Cache(tmp_path / "all.zarr").video_ids() == ["v00", "v01", "v02", "v03"]


def test_a_users_mistakes_are_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (("pack", made, tmp_path / "x.tar"), "ends with .zip"),
        (("pack", made, made / "x.zip"), "lies inside"),
        (("pack", tmp_path / "none", tmp_path / "x.zip"), "no cache here"),
        (("unpack", tmp_path / "none.zip", tmp_path / "y"), "no such file"),
        (("unpack", made, tmp_path / "y"), "is a folder, not a packed cache"),
        (("subset", made, made / "y"), "is there already|lies inside"),
        (("subset", made, made), "lies inside|is there already"),
        (("subset", made, tmp_path / "none" / "y"), "make it first"),
        (("merge", made, made), "is there already"),
        (("merge", tmp_path / "y"), "Missing argument"),
    ):
        status, _, err = run(capsys, *words)
        assert status == 2, words
        assert any(part in err for part in message.split("|")), err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_packed_file_never_changes(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.move(packed(made, "fixed.zarr.zip"), tmp_path / "fixed.zarr.zip"))
    before = file.read_bytes()
    for words in (("readout", "--cache", file, "--task", "va"), ("verify", file, "--repair")):
        _, _, err = run(capsys, *words)
        assert "is packed;" in err or "is a packed file" in err, words
    assert file.read_bytes() == before


def test_training_reads_a_packed_file_as_it_reads_a_folder(made: Path) -> None:
    file = packed(made, "train.zarr.zip", replace=True)
    for split in ("train", "validation", "test"):
        for mine, theirs in zip(
            load_split(file, "va", "teacher", split),
            load_split(made, "va", "teacher", split),
            strict=True,
        ):
            np.testing.assert_array_equal(mine.features, theirs.features)
            np.testing.assert_array_equal(mine.pseudo, theirs.pseudo)
    again = RandomWindows(load_split(file, "va", "teacher", "train"), shortest=5, longest=9)
    assert again.batch(0).features.shape[0] == 16
