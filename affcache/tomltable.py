"""A TOML table read key by key: what is taken out is known, what is left over is a mistake.

Nothing is raised: every mistake becomes a sentence in a list that the tables of one document
share, with the line of the key where it can be found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

Check = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TEXT: Check = ("a text", lambda v: isinstance(v, str) and v != "")
NUMBER: Check = ("a number above 0", lambda v: _is_number(v) and 0 < v < float("inf"))
TEXTS: Check = (
    "a list of texts",
    lambda v: isinstance(v, list) and all(isinstance(item, str) and item for item in v),
)
TABLES: Check = (
    "a list of tables",
    lambda v: isinstance(v, list) and all(isinstance(item, dict) for item in v),
)
TABLE: Check = ("a table", lambda v: isinstance(v, dict))


class TomlTable:
    """One table of a document.

    Parameters
    ----------
    values : the table as `tomllib` gives it
    path : the keys that lead to it, for messages
    text : the whole document, in which lines are looked up
    problems : where mistakes are added
    """

    def __init__(
        self, values: dict[str, Any], path: tuple[str, ...], text: str, problems: list[str]
    ) -> None:
        self.values, self.path, self.text, self.problems = values, path, text, problems
        self.known: list[str] = []

    def take(self, key: str, check: Check, default: Any = None, *, required: bool = False) -> Any:
        """A value of the right kind; else the default, and a problem if it was another kind."""
        self.known.append(key)
        if key not in self.values:
            if required:
                self.problems.append(f"{self.name(key)} is missing: give {check[0]}")
            return default
        value = self.values[key]
        if not check[1](value):
            self.problems.append(
                f"{self.name(key)}{self.line(key)} is {value!r:.60}, expected {check[0]}"
            )
            return default
        return value

    def table(self, key: str) -> TomlTable:
        """A table below this one, empty where there is none."""
        return TomlTable(self.take(key, TABLE, {}), (*self.path, key), self.text, self.problems)

    def close(self) -> None:
        """Call what nobody took a mistake, and say what was probably meant."""
        for key in self.values:
            if key not in self.known:
                close = difflib.get_close_matches(key, self.known, n=1)
                meant = f"did you mean {close[0]!r}? " if close else ""
                self.problems.append(
                    f"unknown key {self.name(key)}{self.line(key)}; {meant}"
                    f"known here: {', '.join(self.known)}"
                )

    def name(self, key: str) -> str:
        """The key with the tables that lead to it."""
        return ".".join([*self.path, key])

    def line(self, key: str) -> str:
        """ " (line 7)" where the key stands, "" where that cannot be told."""
        found = _line_of(self.text, self.path, key)
        return f" (line {found})" if found else ""


def subject_pattern(top: TomlTable) -> re.Pattern[str] | None:
    """The `subject` key: a regular expression whose first group is the person; None without one."""
    text = top.take("subject", TEXT)
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        top.problems.append(f"subject{top.line('subject')} is not a regular expression: {error}")
        return None
    if pattern.groups < 1:
        top.problems.append(f"subject{top.line('subject')} needs a (group) that holds the subject")
        return None
    return pattern


def _line_of(text: str, path: tuple[str, ...], key: str) -> int | None:
    """The first line that sets a key or opens its table; inline tables hide theirs."""
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?([^\]]+)\]\]?\s*(#.*)?$", line)
        if header:
            section = _dotted(header[1])
            if section[: len(path) + 1] == (*path, key):
                return number
            continue
        assigned = re.match(r"\s*([A-Za-z0-9_.\"'\- ]+?)\s*=", line)
        if assigned:
            full = (*section, *_dotted(assigned[1]))
            if full[: len(path) + 1] == (*path, key):
                return number
    return None


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
