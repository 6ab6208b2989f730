"""`affcache simulate videos` as a user meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stages.simulate import videos
from stages.simulate.cache import CacheSettings, truth
from stages.simulate.command import simulate
from stages.simulate.portraits import PEOPLE
from stages.simulate.recipe import names
from stages.simulate.record import Settings
from stages.simulate.warp import Portrait


def test_the_commands_defaults_are_the_settings_own() -> None:
    declared = {p.name: p.default for p in simulate.commands["videos"].params}
    settings = Settings()
    for name in ("people", "clips", "frames", "size", "fps", "seed"):
        assert declared[name] == getattr(settings, name), name
    assert settings.people == len(PEOPLE)


def test_help_shows_an_example_and_says_simulated() -> None:
    shown = CliRunner().invoke(simulate, ["videos", "--help"]).output
    assert "affcache simulate videos out/demo" in shown
    assert "SIMULATED" in shown


def test_the_closing_table_can_be_json(
    tmp_path: Path, face: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "portraits", lambda people, _size: [face for _ in people])
    words = ["videos", str(tmp_path), "--people", "1", "--clips", "2", "--frames", "3"]
    done = CliRunner().invoke(
        simulate, [*words, "--size", "80", "--workers", "1", "--json"], catch_exceptions=False
    )
    (row,) = json.loads(done.stdout)
    assert (row["subject"], row["videos"], row["frames"]) == ("p01", 2, 6)


def test_a_cache_is_simulated_with_its_ceilings_as_json(tmp_path: Path) -> None:
    words = ["cache", str(tmp_path / "c.zarr"), "--videos", "6", "--frames", "30", "--json"]
    more = ["--tasks", "va,expr", "--drop", "va=0.5", "--drop", "expr=0.5", "--splits", "4,1,1"]
    done = CliRunner().invoke(simulate, [*words, *more, "--lag", "-3"], catch_exceptions=False)
    rows = json.loads(done.stdout)
    assert [row["estimator"] for row in rows[:3]] == ["pseudo-labels", "frame", "window"]
    assert {row["task"] for row in rows} == {"va", "expr"}
    settings = truth(tmp_path / "c.zarr")["settings"]
    assert (settings["lag"], settings["drop"]) == (-3, {"va": 0.5, "expr": 0.5})
    assert settings["splits"] == [4, 1, 1]


def test_the_caches_help_names_every_recipe_and_the_defaults() -> None:
    shown = CliRunner().invoke(simulate, ["cache", "--help"]).output
    assert "affcache simulate cache out/sim.zarr" in shown
    assert "SIMULATED" in shown
    for name in names():
        assert name in shown
    settings = CacheSettings()
    for name in ("videos", "frames", "seed", "fps", "missing", "changes"):
        (option,) = (p for p in simulate.commands["cache"].params if p.name == name)
        assert option.help.endswith(f"[{getattr(settings, name):g}]"), name


def test_numbers_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    for words in (["--splits", "4,x,1"], ["--tasks", "va", "--drop", "va=half"]):
        done = CliRunner().invoke(simulate, ["cache", str(tmp_path / "c.zarr"), *words])
        assert done.exit_code == 2
        assert "is no number" in done.output
