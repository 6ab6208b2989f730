"""A head of somebody else's package: one module, one entry point, nothing of affcache touched."""

import csv
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from affcache.errors import RecipeError
from stages.train import heads
from stages.train.heads import HEADS, head_class, head_names
from stages.train.recipe import load
from tests.stages.train.conftest import Outcome
from tests.stages.train.simulated import simulate


def shown_in_the_docs() -> str:
    """The example in the docstring of `stages.train.heads`, which is what a user copies."""
    _, _, rest = (heads.__doc__ or "").partition("leaky_head.py::\n\n")
    block, _, _ = rest.partition("\n\nIn its metadata")
    return textwrap.dedent(block) + "\n"


MODULE = shown_in_the_docs()

Command = Callable[..., Outcome]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that looks as pip leaves it: a module and its metadata."""
    site = tmp_path / "site"
    metadata = site / "leaky-0.1.dist-info"
    metadata.mkdir(parents=True)
    (site / "leaky_head.py").write_text(MODULE, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[affcache.heads]\nleaky = leaky_head:Leaky\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "leaky_head", raising=False)
    return site


def test_it_takes_about_forty_lines() -> None:
    code = [line for line in MODULE.splitlines() if line.strip()]
    assert len(code) <= 40


def test_it_trains_evaluates_and_predicts(
    installed: Path, tmp_path: Path, affcache: Command
) -> None:
    cache = simulate(tmp_path / "small.zarr", people=(4, 1, 1), frames=90, width=16)
    assert "leaky" in head_names()
    assert "leaky" not in HEADS
    run = tmp_path / "run"
    short = ("training.epochs=2", "training.iterations=20", "windows.batch=4", "model.keep=0.9")
    changes = [word for change in short for word in ("--set", change)]
    done = affcache("train", "--head", "leaky", "--cache", cache, "--out", run, *changes)
    assert done.status == 0, done.err
    assert json.loads((run / "config.json").read_text())["recipe"]["model"] == {"keep": 0.9}

    done = affcache("evaluate", run, "--json")
    assert done.status == 0, done.err
    predictors = {row["predictor"] for row in json.loads(done.out)["scores"]}
    assert {"leaky", "leaky, matched", "pseudo-labels"} <= predictors

    done = affcache("predict", run, cache, "--out", tmp_path / "said", "--json")
    assert done.status == 0, done.err
    rows = json.loads(done.out)
    assert len(rows) == 6
    with Path(rows[0]["csv"]).open(encoding="utf-8") as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 90
    assert all((row["valence"] != "") == (row["valid"] == "1") for row in frames)


def test_its_recipe_is_the_one_beside_it_or_everybodys_defaults(installed: Path) -> None:
    assert load("leaky").windows == load("ap").windows
    assert load("leaky").model.keep == 0.8
    (installed / "leaky.toml").write_text("[windows]\nlongest = 50\n", encoding="utf-8")
    assert load("leaky").windows.longest == 50
    with pytest.raises(RecipeError, match=r"model.keep = 2, expected between 0 and 1"):
        load("leaky", None, ["model.keep=2"])


def test_what_is_no_head_is_refused_with_its_name(installed: Path) -> None:
    points = installed / "leaky-0.1.dist-info" / "entry_points.txt"
    points.write_text("[affcache.heads]\nleaky = leaky_head:LeakySettings\n")
    with pytest.raises(RecipeError, match=r"head 'leaky' is .*, expected a subclass of"):
        head_class("leaky")


def test_ours_cannot_be_replaced(installed: Path) -> None:
    points = installed / "leaky-0.1.dist-info" / "entry_points.txt"
    points.write_text("[affcache.heads]\nap = leaky_head:Leaky\n")
    assert head_class("ap").__module__ == "stages.train.heads.ap"
    assert head_names().count("ap") == 1
