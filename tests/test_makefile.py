"""What `make` hands to the program, and what it leaves alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, a ready environment, and a program that says its words."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "pyproject.toml"):
        (tmp_path / name).touch()
    program = tmp_path / ".venv/bin/affcache"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    (tmp_path / ".venv/.ready").touch()
    return tmp_path


def make(clone: Path, *words: str) -> tuple[int, list[str], str]:
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")  # of a `make test` that runs this
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(
        ["make", *words], cwd=clone, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_root_may_have_blanks_in_its_name(clone: Path) -> None:
    status, words, _ = make(clone, "extract", "DATASET=affwild2", "ROOT=/my data/aff wild")
    assert status == 0
    assert words[:5] == ["extract", "--manifest", "affwild2", "--root", "/my data/aff wild"]
    assert words[5:7] == ["--out", "out/affwild2.zarr"]


def test_a_manifest_of_ones_own_names_cache_and_run(clone: Path) -> None:
    mine = "DATASET=../lists/mine.toml"
    _, words, _ = make(clone, "extract", mine)
    assert words[words.index("--manifest") + 1] == "../lists/mine.toml"
    assert words[words.index("--out") + 1] == "out/mine.zarr"
    _, words, _ = make(clone, "train", mine, "HEAD=mlp", "SEED=3")
    assert words[words.index("--cache") + 1] == "out/mine.zarr"
    run = words[words.index("--out") + 1]
    assert run == "runs/mine-mlp-s3"
    _, words, _ = make(clone, "evaluate", mine, "HEAD=mlp", "SEED=3")
    assert words == ["evaluate", run]


@pytest.mark.parametrize("target", ["extract", "train", "evaluate"])
def test_no_data_set_is_told_what_to_say(clone: Path, target: str) -> None:
    status, words, said = make(clone, target)
    assert (status, words) == (2, [])
    assert f"say which: make {target} DATASET=affwild2" in said


def test_cleaning_removes_what_can_be_made_again_and_no_cache_or_run(clone: Path) -> None:
    for name in ("build/lib", "affcache/__pycache__", "manifests", "stages", "tests"):
        (clone / name).mkdir(parents=True)
    kept = [clone / name for name in ("out/x.zarr", "runs/x-ap-s0", ".venv/bin")]
    for folder in kept:
        folder.mkdir(parents=True, exist_ok=True)
    assert make(clone, "clean")[0] == 0
    assert all(folder.is_dir() for folder in kept)
    assert not (clone / "build").exists()
    assert not (clone / "affcache/__pycache__").exists()
