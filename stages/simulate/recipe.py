"""Named settings of simulated caches: TOML files that say what differs from the defaults.

A file's keys are the fields of `settings.CacheSettings`, `[process]` and `[backbone]` those of its
two parts. What the command line says comes last.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from affcache.errors import SimulationError
from stages.simulate.settings import Backbone, CacheSettings, Process

FOLDER = Path(__file__).parent / "recipes"
PARTS = {"process": Process, "backbone": Backbone}
P = TypeVar("P", Process, Backbone)


def names() -> list[str]:
    """The recipes that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def settings_of(recipe: str, changes: Mapping[str, Any]) -> CacheSettings:
    """A recipe's settings with some of them changed.

    Parameters
    ----------
    recipe : a name in `names()`, or the path of a .toml file
    changes : what the command line says; None leaves what the recipe says

    Raises
    ------
    SimulationError
        If there is no such recipe, it is not TOML, or a key or value of it is unknown.
    """
    path = Path(recipe) if recipe.endswith(".toml") else FOLDER / f"{recipe}.toml"
    if not path.is_file():
        raise SimulationError(
            f"no recipe {recipe!r}: there are {', '.join(names())}, or give a .toml file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SimulationError(f"{path}: is not TOML: {error}") from None
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return _settings(table, given)
    except SimulationError as error:
        raise SimulationError(f"recipe {recipe}: {error}") from None


def _settings(table: Mapping[str, Any], given: Mapping[str, Any]) -> CacheSettings:
    _check_keys("", table, (f.name for f in dataclasses.fields(CacheSettings)))
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    for key, kind in PARTS.items():
        if key in values:
            values[key] = _part(key, kind, values[key])
    return CacheSettings(**{**values, **given})


def _part(key: str, kind: type[P], table: object) -> P:
    if not isinstance(table, dict):
        raise SimulationError(f"{key} is {table!r}, expected a table")
    _check_keys(f"{key}.", table, (f.name for f in dataclasses.fields(kind)))
    return kind(**table)


def _check_keys(prefix: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    fields = list(known)
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            meant = f"did you mean {prefix}{close[0]}? " if close else ""
            raise SimulationError(
                f"unknown key {prefix}{key}; {meant}known here: {', '.join(fields)}"
            )
