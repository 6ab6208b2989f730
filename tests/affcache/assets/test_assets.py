"""Assets are what their hashes say, wherever they come from, and once here they cost no network."""

import json
import os
from pathlib import Path

import pytest

from affcache import assets
from affcache.assets import Asset, sources
from affcache.errors import AssetError
from tests.affcache.assets.making import PICTURE, WEIGHTS, WRONG, build_wheel, kept, know, sha, tiny
from tests.affcache.test_cli import run


def test_only_the_members_of_a_wheel_are_kept(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    folder = assets.fetch("tiny")
    assert folder == home / "assets" / "tiny"
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert kept(home) == {"assets/tiny/weights.bin", "assets/tiny/picture.bin"}


def test_what_is_here_needs_neither_pip_nor_network(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    assets.fetch("tiny")
    monkeypatch.setattr(sources.sys, "executable", "/nowhere/python")
    wheel.unlink()
    assert assets.file("tiny", "weights.bin").read_bytes() == WEIGHTS
    assert assets.fetch("tiny").is_dir()


def test_offline_without_the_asset_is_one_clear_line(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    know(monkeypatch, tiny(wheel))
    wheel.unlink()
    status, out, err = run(capsys, "assets", "fetch", "tiny")
    lines = [line for line in err.splitlines() if line.startswith("affcache: ")]
    assert (status, out, len(lines)) == (2, "", 1)
    assert "tinyfaces==1.2" in lines[0]
    assert "--from" in lines[0]
    assert kept(home) == set()


def test_an_index_that_cannot_be_reached_is_said(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    wheel.unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setattr(sources, "RETRIES", 1)
    with pytest.raises(AssetError, match="pip cannot reach the package index for tinyfaces==1"):
        assets.fetch("tiny")


def test_a_python_without_pip_is_told_what_to_do(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    know(monkeypatch, tiny(wheel))
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sources.sys, "executable", str(bare))
    with pytest.raises(AssetError, match=r"has no pip .* -m ensurepip"):
        assets.fetch("tiny")


def test_a_wheel_of_another_hash_is_refused_with_both_hashes(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel, wheel_sha=WRONG))
    with pytest.raises(AssetError) as error:
        assets.fetch("tiny")
    assert WRONG in str(error.value)
    assert sha(wheel.read_bytes()) in str(error.value)
    assert kept(home) == set()


def test_a_member_of_another_hash_is_refused_with_both_hashes(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel, weights_sha=WRONG))
    with pytest.raises(AssetError) as error:
        assets.fetch("tiny")
    assert WRONG in str(error.value)
    assert sha(WEIGHTS) in str(error.value)
    assert "assets/tiny/weights.bin" not in kept(home)


def test_a_damaged_file_is_said_and_fetched_again(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    know(monkeypatch, tiny(wheel))
    path = assets.file("tiny", "weights.bin")
    path.write_bytes(b"x" + WEIGHTS[1:])
    assert assets.file("tiny", "weights.bin").read_bytes() == WEIGHTS
    assert f"sha256 {sha(b'x' + WEIGHTS[1:])}, expected {sha(WEIGHTS)}" in capsys.readouterr().err


def test_a_damaged_file_offline_is_an_error_and_not_used(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    assets.file("tiny", "weights.bin").write_bytes(b"half")
    wheel.unlink()
    with pytest.raises(AssetError, match=r"weights\.bin"):
        assets.file("tiny", "weights.bin")


def test_a_wheel_that_the_user_has_is_enough(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = build_wheel(tmp_path / "stick")
    know(monkeypatch, tiny(wheel))
    renamed = wheel.rename(tmp_path / "stick" / "renamed.zip")
    assert (assets.fetch("tiny", renamed) / "picture.bin").read_bytes() == PICTURE
    assert renamed.exists()


def test_a_folder_of_files_is_known_by_hash_and_not_by_name(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "a.bin").write_bytes(WEIGHTS)
    (stick / "b.bin").write_bytes(PICTURE)
    (stick / "weights.bin").write_bytes(b"another")
    assert (assets.fetch("tiny", stick) / "weights.bin").read_bytes() == WEIGHTS
    assert (stick / "a.bin").exists()


def test_files_can_be_given_one_by_one(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    for name, data in (("weights.bin", WEIGHTS), ("picture.bin", PICTURE)):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(AssetError, match=r"does not hold picture\.bin"):
        assets.fetch("tiny", tmp_path / "weights.bin")
    assert assets.fetch("tiny", tmp_path / "picture.bin").is_dir()


def test_a_given_file_of_another_hash_is_refused_with_both_hashes(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    (tmp_path / "weights.bin").write_bytes(b"another")
    with pytest.raises(AssetError) as error:
        assets.fetch("tiny", tmp_path / "weights.bin")
    assert sha(b"another") in str(error.value)
    assert sha(WEIGHTS) in str(error.value)


def test_a_given_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"none\.whl: no such file"):
        assets.fetch("mini-xception", tmp_path / "none.whl")


def test_a_home_that_cannot_be_written_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AFFCACHE_HOME", str(tmp_path / "file"))
    status, out, err = run(capsys, "assets", "fetch", "mini-xception")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"assets cannot be kept in {tmp_path / 'file' / 'assets'} (" in err
    assert "AFFCACHE_HOME" in err


def test_what_killed_fetches_left_goes_after_a_day_and_a_running_one_stays(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, tiny(wheel))
    for name in ("killed", "running"):
        (home / "assets" / f".partial-{name}").mkdir(parents=True)
    (home / "assets" / ".partial-killed" / "half.whl").write_bytes(b"half")
    os.utime(home / "assets" / ".partial-killed", (0, 0))
    assets.fetch("tiny")
    left = {path.name for path in (home / "assets").glob(".partial-*")}
    assert left == {".partial-running"}


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(AssetError, match="did you mean 'mini-xception'"):
        assets.fetch("mini-exception")


def test_one_of_several_files_must_be_named() -> None:
    with pytest.raises(AssetError, match=r"pyfeat-clips.*single_face\.mp4"):
        assets.file("pyfeat-clips")


def test_from_is_for_one_asset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capsys, "assets", "fetch", "a", "b", "--from", str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert "2 names" in err


def test_the_list_says_what_is_here(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    know(monkeypatch, tiny(wheel))
    assets.file("tiny", "weights.bin")
    (assets.folder("tiny") / "picture.bin").unlink()
    status, out, _ = run(capsys, "assets", "list", "--json")
    states = {row["name"]: row["state"] for row in json.loads(out)}
    assert (status, states["tiny"], states["mini-xception"]) == (0, "part", "absent")


def test_the_table_lists_every_asset(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "assets", "list")
    assert status == 0
    assert all(name in out for name in assets.ASSETS)


@pytest.mark.parametrize("asset", assets.ASSETS.values(), ids=lambda asset: asset.name)
def test_every_entry_of_the_table_is_pinned_and_has_a_source(asset: Asset) -> None:
    for file in asset.files.values():
        assert len(file.sha256) == 64
        assert file.bytes > 0
        assert Path(file.name).name == file.name
        assert (file.member is None) != (file.url is None)
        assert file.member is None or asset.wheel is not None
        assert file.url is None or file.url.startswith("https://")


def test_the_home_is_the_environment_variables_or_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AFFCACHE_HOME", "~/elsewhere")
    assert assets.home() == Path.home() / "elsewhere"
    monkeypatch.delenv("AFFCACHE_HOME")
    assert assets.home() == Path.home() / ".cache" / "affcache"


def test_the_real_weights_come_out_of_their_real_wheel(home: Path) -> None:
    assert assets.file("mini-xception").stat().st_size == 872_856
    assert kept(home) == {"assets/mini-xception/emotion_model.hdf5"}
