"""How basic expressions and action units go together (paper 002, Table V), as data.

A table names for each expression its prototypical units, which always belong to it, and its
observational ones, with the share of cases in which they were seen. Ours are `cognitive` and
`aff-wild2`; any other is a TOML file of the same form:

    source = "where it comes from"

    [Happiness]
    prototypical = [12, 25]
    observational = { 6 = 0.51 }

Convention: a prototypical unit weighs 1; units and expressions that are not named weigh 0. What a
table says of units that the data do not annotate is left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affcache.errors import RecipeError
from affcache.schema import EXPRESSIONS
from stages.train.suggest import known

FOLDER = Path(__file__).parent
PARTS = ("prototypical", "observational")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relatedness:
    """A checked table.

    Attributes
    ----------
    source : where it comes from
    weights : expression -> unit -> weight in (0, 1]
    """

    source: str
    weights: Mapping[str, Mapping[int, float]]

    def table(self, expressions: Sequence[str], units: Sequence[str]) -> np.ndarray:
        """Weights (expressions, units) float32 for columns such as "Fear" and "AU12"."""
        rows = [self.weights.get(expression, {}) for expression in expressions]
        numbers = [int(unit.removeprefix("AU")) for unit in units]
        return np.array([[row.get(n, 0.0) for n in numbers] for row in rows], np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back."""
        weights = {name: {str(n): w for n, w in row.items()} for name, row in self.weights.items()}
        return {"source": self.source, "weights": weights}


def load(name: str) -> Relatedness:
    """One of ours by name, or a user's own by its path.

    Raises
    ------
    RecipeError
        If there is no such table, or it names an unknown expression, a unit that is no number, or
        a weight outside (0, 1].
    """
    ours = FOLDER / f"{name}.toml"
    path = ours if ours.is_file() else Path(name)
    if not path.is_file():
        names = sorted(file.stem for file in FOLDER.glob("*.toml"))
        raise RecipeError(
            f"relatedness {name!r}: no such file and none of ours; {known('table', name, names)}"
        )
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file ({error})") from None
    source = tables.pop("source", None)
    if not isinstance(source, str) or not tables:
        raise RecipeError(f'{path}: expected source = "where it comes from", then tables')
    return Relatedness(
        source=source, weights={name: _weights(path, name, row) for name, row in tables.items()}
    )


def _weights(path: Path, expression: str, row: Any) -> dict[int, float]:
    if expression not in EXPRESSIONS:
        raise RecipeError(
            f"{path}: unknown expression [{expression}]; "
            f"{known('expression', expression, EXPRESSIONS)}"
        )
    if not isinstance(row, Mapping) or not row.keys() <= set(PARTS):
        raise RecipeError(f"{path}: [{expression}] takes {' and '.join(PARTS)}")
    found: dict[int, float] = {}
    always, seen = row.get("prototypical", []), row.get("observational", {})
    if not isinstance(always, list) or not isinstance(seen, Mapping):
        raise RecipeError(
            f"{path}: [{expression}] expected prototypical = [12, 25] and observational = "
            "{ 6 = 0.51 }"
        )
    for unit, weight in [*((unit, 1.0) for unit in always), *seen.items()]:
        number = unit if isinstance(unit, int) else int(unit) if str(unit).isdecimal() else None
        if number is None or number in found:
            raise RecipeError(
                f"{path}: [{expression}] unit {unit!r}, expected the number of a unit, once"
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
            raise RecipeError(
                f"{path}: [{expression}] unit {number} weighs {weight!r}, expected a share above 0 "
                "and at most 1"
            )
        found[number] = float(weight)
    return found
