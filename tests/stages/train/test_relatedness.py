"""Tables of expressions and units: ours hold what Table V prints, a user's own is checked."""

from pathlib import Path

import numpy as np
import pytest

from affcache.errors import RecipeError
from affcache.schema import EXPRESSIONS
from affcache.targets import FIXED
from stages.train.relatedness import load


def test_our_tables_hold_what_the_paper_says_of_happiness() -> None:
    assert load("cognitive").weights["Happiness"] == {12: 1.0, 25: 1.0, 6: 0.51}
    assert load("aff-wild2").weights["Happiness"] == {12: 0.82, 25: 0.7, 6: 0.57, 7: 0.83, 10: 0.63}
    for name, count in (("cognitive", 32), ("aff-wild2", 33)):
        assert sum(len(row) for row in load(name).weights.values()) == count
        assert "Table V" in load(name).source
        assert {*load(name).weights} == {*EXPRESSIONS} - {"Neutral"}


def test_a_table_takes_the_columns_that_the_data_have() -> None:
    table = load("cognitive").table(EXPRESSIONS, FIXED["au"])
    assert table.shape == (7, 12)
    assert table.dtype == np.float32
    assert not table[EXPRESSIONS.index("Neutral")].any()
    surprise = dict(zip(FIXED["au"], table[EXPRESSIONS.index("Surprise")], strict=True))
    assert {unit for unit, weight in surprise.items() if weight} == {"AU1", "AU2", "AU25", "AU26"}
    assert table[EXPRESSIONS.index("Fear"), 1] == np.float32(0.57)


def test_a_user_brings_a_table_by_its_path(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('source = "me"\n[Fear]\nprototypical = [5]\nobservational = { 20 = 1 }\n')
    related = load(str(own))
    assert related.source == "me"
    assert related.weights == {"Fear": {5: 1.0, 20: 1.0}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[Fear\n", "not a TOML file"),
        ("[Fear]\nprototypical = [5]\n", "expected source"),
        ('source = "me"\n', "expected source"),
        ('source = "me"\n[fear]\nprototypical = [5]\n', "did you mean 'Fear'"),
        ('source = "me"\n[Fear]\ntypical = [5]\n', "takes prototypical and observational"),
        ('source = "me"\n[Fear]\nprototypical = 5\n', "expected prototypical = "),
        ('source = "me"\n[Fear]\nprototypical = ["AU5"]\n', "unit 'AU5', expected the number"),
        (
            'source = "me"\n[Fear]\nprototypical = [5]\nobservational = { 5 = 0.5 }\n',
            "unit '5', expected the number of a unit, once",
        ),
        ('source = "me"\n[Fear]\nobservational = { 5 = 1.5 }\n', "weighs 1.5, expected a share"),
        ('source = "me"\n[Fear]\nobservational = { 5 = true }\n', "weighs True, expected a share"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(RecipeError, match=r"own\.toml") as caught:
        load(str(own))
    assert says in str(caught.value)


def test_a_table_that_does_not_exist_says_which_there_are() -> None:
    with pytest.raises(RecipeError, match="known tables: aff-wild2, cognitive"):
        load("cognitiv")
