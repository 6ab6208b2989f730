"""The laws of the architecture, each broken by nothing but a failing test."""

import ast
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from affcache.cli import COMMANDS

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "decord", "dask", "facenet_pytorch"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, deferred imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which package is meant"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def under(names: set[str], *packages: str) -> set[str]:
    return {name for name in names for p in packages if name == p or name.startswith(p + ".")}


@pytest.mark.parametrize("path", sources("affcache"), ids=lambda p: str(p.relative_to(ROOT)))
def test_affcache_imports_neither_torch_nor_stages(path: Path) -> None:
    found = under(imports(path), "stages", *HEAVY)
    if path == ROOT / "affcache" / "derivation" / "fitting.py":
        found -= under(found, "dask")
    assert not found


def test_fitting_imports_dask_only_when_it_fits() -> None:
    program = "import sys; import affcache.derivation; print('dask' in sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_affcache_names_stages_only_in_the_command_table() -> None:
    strings = {
        str(path.relative_to(ROOT))
        for path in sources("affcache")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith("stages.")
    }
    assert strings <= {"affcache/cli.py"}


@pytest.mark.parametrize(("one", "other"), [("extract", "train"), ("train", "extract")])
def test_the_two_stages_never_import_each_other(one: str, other: str) -> None:
    for path in sources(f"stages/{one}"):
        assert not under(imports(path), f"stages.{other}"), path


@pytest.mark.parametrize("words", [[], *[[name] for name in COMMANDS]], ids=" ".join)
def test_help_answers_quickly_without_the_heavy_libraries(words: list[str]) -> None:
    program = (
        "import json, sys\n"
        "from affcache.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & (HEAVY | {"zarr", "matplotlib", "av", "h5py"})
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 0.5, "processor time of a --help"


def bare_clone(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`python -m affcache --help` in a copy of the packages that nobody installed."""
    for package in ("affcache", "stages", "manifests"):
        shutil.copytree(ROOT / package, folder / package)
    return subprocess.run(
        [sys.executable, *options, "-m", "affcache", "--help"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )


def test_a_clone_that_was_never_installed_answers(tmp_path: Path) -> None:
    done = bare_clone(tmp_path)
    assert done.returncode == 0
    assert "train" in done.stdout


def test_a_python_without_the_packages_is_told_where_they_come_from(tmp_path: Path) -> None:
    done = bare_clone(tmp_path, "-S")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{sys.executable} has no click; affcache needs Python 3.11" in done.stderr
    assert "make setup" in done.stderr


@pytest.mark.parametrize("path", sources("affcache") + sources("stages"), ids=lambda p: p.name)
def test_every_file_is_a_small_room_with_an_idea_at_its_head(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"


def test_every_command_of_the_table_exists() -> None:
    for entry in COMMANDS.values():
        module, attribute = entry.target.split(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        names = {
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        assert attribute in names
