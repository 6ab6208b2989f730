"""Named settings of simulated caches, and what a wrong one is told."""

from pathlib import Path

import pytest

from affcache.errors import SimulationError
from stages.simulate.recipe import names, settings_of
from stages.simulate.settings import CacheSettings, Process


def test_the_default_recipe_is_the_defaults_written_out() -> None:
    assert settings_of("context", {}) == CacheSettings()


@pytest.mark.parametrize("frames", [30, 50, 70])
def test_lag_recipes_differ_in_their_lag(frames: int) -> None:
    settings = settings_of(f"lag{frames}", {})
    assert settings.lag == frames
    assert settings.process.offset_variance == 0


def test_every_recipe_is_listed_and_resolves() -> None:
    assert names() == ["context", "lag30", "lag50", "lag70", "neither"]
    for name in names():
        settings_of(name, {})


def test_what_the_command_line_says_comes_last() -> None:
    settings = settings_of("lag50", {"lag": -5, "videos": 10, "frames": None})
    assert (settings.lag, settings.videos, settings.frames) == (-5, 10, 600)


def test_a_file_of_ones_own_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('splits = [1, 0, 1]\ntasks = ["va", "au"]\n[process]\npole_frames = 10\n')
    settings = settings_of(str(file), {})
    assert settings.splits == (1, 0, 1)
    assert settings.tasks == ("va", "au")
    assert settings.process == Process(pole_frames=10)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lags = 3", "unknown key lags; did you mean lag?"),
        ("[process]\nnoise_variances = 3", "did you mean process.noise_variance?"),
        ("process = 3", "process is 3, expected a table"),
        ('lag = "3"', "lag is '3', expected a whole number"),
        ("lag = = 3", "is not TOML"),
        ("drop = {expr = 0.5}", "drop expr=0.5"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(SimulationError, match=words) as caught:
        settings_of(str(file), {})
    assert "wrong.toml" in str(caught.value)


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(SimulationError, match="there are context, lag30, lag50, lag70, neither"):
        settings_of("contex", {})
