"""Compound expressions without a single example of one: rules on top of three tasks (eq. 10).

Paper 002, section VI.B. A category is scored by how far its action units are predicted, by its two
basic expressions, and, where it can be a pleasant one, by the sign of valence; the category with
the highest score is the answer.

Equation 10 is printed with its first fraction upside down: sum p(AU | category) over
sum p(AU | x) p(AU | category) is least where all of a category's units are predicted and grows
without bound where none is. Its text ("every AU acts as an indicator for this class") asks for the
reciprocal, the predicted share of the category's units, which is what is computed.

Categories are data: `rafdb` (11) and `emotionet` (6 basic, 10 compound), or a TOML file of the same
form. p(AU | category) is 1 for prototypical and observational units, as in equation 8.
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
KEYS = {"name", "expressions", "units", "pleasant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One compound (or basic) expression.

    Attributes
    ----------
    name : such as "happily surprised"
    expressions : the basic ones that it mixes, one or two; one counts twice, as both halves
    units : numbers of its prototypical and observational action units
    pleasant : whether positive valence speaks for it (the last term of eq. 10)
    """

    name: str
    expressions: tuple[str, ...]
    units: tuple[int, ...]
    pleasant: bool = False


def load(name: str) -> list[Category]:
    """Categories by the name of one of our files, or by a path.

    Raises
    ------
    RecipeError
        If there is no such file, or a category in it is not complete.
    """
    ours = FOLDER / f"{name}.toml"
    path = ours if ours.is_file() else Path(name)
    if not path.is_file():
        names = sorted(file.stem for file in FOLDER.glob("*.toml"))
        raise RecipeError(f"categories {name!r}: no such file; {known('set', name, names)}")
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("category", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file ({error})") from None
    if not isinstance(rows, list) or len(rows) < 2:
        raise RecipeError(f"{path}: expected two or more [[category]]")
    found = [_category(path, number, row) for number, row in enumerate(rows, start=1)]
    twice = [c.name for c in found if [d.name for d in found].count(c.name) > 1]
    if twice:
        raise RecipeError(f"{path}: category {twice[0]!r} stands there twice")
    return found


def scores(
    categories: Sequence[Category],
    expressions: np.ndarray,
    units: np.ndarray,
    valence: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """C_s of eq. 10 for every category.

    Parameters
    ----------
    expressions : (T, 7) probabilities, in the order of `affcache.schema.EXPRESSIONS`
    units : (T, k) probabilities
    valence : (T,) in [-1, 1]
    names : what the k units are called, such as "AU12"; units that the data do not have are left
        out of a category, and a category that keeps none has 0 in place of its share

    Returns
    -------
    (T, categories), each from 0 to 3 (4 where basic expressions count twice); NaN where a
    prediction is.
    """
    numbers = [int(name.removeprefix("AU")) for name in names]
    columns = []
    for category in categories:
        own = [k for k, number in enumerate(numbers) if number in category.units]
        share = units[:, own].mean(axis=1) if own else np.zeros(len(units))
        halves = (category.expressions * 2)[:2]
        mixed = sum(expressions[:, EXPRESSIONS.index(half)] for half in halves)
        pleasant = 0.5 * (np.sign(valence) + 1) if category.pleasant else 0.0
        columns.append(share + mixed + pleasant)
    found = np.stack(columns, axis=1)
    nothing = ~(np.isfinite(expressions).all(1) & np.isfinite(units).all(1) & np.isfinite(valence))
    return np.where(nothing[:, None], np.nan, found)


def _category(path: Path, number: int, row: Any) -> Category:
    where = f"{path}: category {number}"
    if not isinstance(row, Mapping) or not row.keys() <= KEYS:
        raise RecipeError(f"{where}: takes {', '.join(sorted(KEYS))}")
    name, mixed = row.get("name"), row.get("expressions")
    units, pleasant = row.get("units"), row.get("pleasant", False)
    if not isinstance(name, str) or not name:
        raise RecipeError(f"{where}: name = {name!r}, expected a word")
    if not isinstance(mixed, list) or not 1 <= len(mixed) <= 2 or not {*mixed} <= {*EXPRESSIONS}:
        raise RecipeError(
            f"{where} ({name}): expressions = {mixed!r}, expected one or two of "
            f"{', '.join(EXPRESSIONS)}"
        )
    if not isinstance(units, list) or not units or not all(type(unit) is int for unit in units):
        raise RecipeError(f"{where} ({name}): units = {units!r}, expected numbers of units")
    if not isinstance(pleasant, bool):
        raise RecipeError(f"{where} ({name}): pleasant = {pleasant!r}, expected true or false")
    return Category(name=name, expressions=tuple(mixed), units=tuple(units), pleasant=pleasant)
