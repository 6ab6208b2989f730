"""Settings that check themselves: a frozen dataclass whose fields say what they accept.

A field is made with `number`, `numbers`, `choice`, `flag` or `text`; `fill` turns a table of a
TOML file into the dataclass, and every complaint names the key, where it stood and what would have
been right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from affcache.errors import RecipeError
from stages.train.suggest import known

T = TypeVar("T")
Check = Callable[[object], Any]


def number(default: float, *, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field for a finite number in [low, high]; whole if its default is an int."""
    whole = isinstance(default, int)

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError("a whole number" if whole else "a number")
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(_range(low, high))
        return value if whole else float(value)

    return _field(default, check)


def numbers(default: tuple[int, ...], *, low: int) -> Any:
    """A field for a list of whole numbers, each at least `low`; it may be empty."""

    def check(value: object) -> tuple[int, ...]:
        if isinstance(value, list | tuple) and all(type(n) is int and n >= low for n in value):
            return tuple(value)
        raise ValueError(f"a list of whole numbers, each at least {low}")

    return _field(default, check)


def choice(default: str, options: Sequence[str]) -> Any:
    """A field for one of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return value

    return _field(default, check)


def flag(default: bool) -> Any:
    """A field for true or false."""

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value

    return _field(default, check)


def text(default: str) -> Any:
    """A field for a word of one's own, such as a path."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError("a word")
        return value

    return _field(default, check)


def fill(
    kind: type[T], table: Mapping[str, Any], where: Callable[[str], str], prefix: str = ""
) -> T:
    """Make a settings dataclass from a table; keys that are left out keep their defaults.

    Parameters
    ----------
    kind : the dataclass
    table : what the file says
    where : where a dotted key stood, for messages
    prefix : dotted path of the table inside the file, such as "model."

    Raises
    ------
    RecipeError
        At an unknown key, a value of another type or one out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        dotted = prefix + key
        if key not in fields:
            raise RecipeError(
                f"{where(dotted)}: unknown key {dotted!r}; "
                f"{known('key', dotted, (prefix + name for name in fields))}"
            )
        try:
            values[key] = fields[key].metadata["check"](value)
        except ValueError as error:
            raise RecipeError(f"{where(dotted)}: {dotted} = {value!r}, expected {error}") from None
    return kind(**values)


def _field(default: Any, check: Check) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"at least {low:g}" if math.isfinite(low) else "a finite number"
    return f"between {low:g} and {high:g}"
