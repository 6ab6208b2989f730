"""`affcache simulate videos` as a user meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stages.simulate import videos
from stages.simulate.command import simulate
from stages.simulate.portraits import PEOPLE
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
