"""Compound expressions: eq. 10 by hand, our categories, and the command on a trained run."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import recall_score

from affcache.errors import RecipeError
from affcache.schema import EXPRESSIONS
from stages.train.compounds import Category, load, scores
from tests.stages.train.conftest import Outcome
from tests.stages.train.test_several_caches import publish

PLEASANT = Category(
    name="happily surprised", expressions=("Happiness", "Surprise"), units=(1, 12), pleasant=True
)
SAD = Category(name="sad", expressions=("Sadness",), units=(15, 99))
STRANGE = Category(name="strange", expressions=("Fear", "Anger"), units=(99,))


def test_a_category_is_scored_by_units_expressions_and_the_sign_of_valence() -> None:
    expressions = np.zeros((3, 7))
    for name, value in (("Happiness", 0.5), ("Surprise", 0.3), ("Sadness", 0.2)):
        expressions[:, EXPRESSIONS.index(name)] = value
    units = np.array([[0.8, 0.4, 0.9]] * 3)
    valence = np.array([0.3, -0.3, 0.0])
    found = scores([PLEASANT, SAD, STRANGE], expressions, units, valence, ["AU1", "AU12", "AU15"])
    np.testing.assert_allclose(found[:, 0], [0.6 + 0.8 + 1, 0.6 + 0.8, 0.6 + 0.8 + 0.5])
    np.testing.assert_allclose(found[:, 1], 0.9 + 0.4)  # a unit that nobody predicts is left out
    np.testing.assert_allclose(found[:, 2], 0.0)


def test_a_frame_without_a_prediction_has_no_category() -> None:
    expressions, units, valence = np.full((2, 7), 1 / 7), np.full((2, 1), 0.5), np.zeros(2)
    expressions[0, 0] = np.nan
    found = scores([PLEASANT, SAD], expressions, units, valence, ["AU1"])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_a_face_that_shows_a_category_as_the_table_has_it_is_given_that_category() -> None:
    for name in ("rafdb", "emotionet"):
        categories = load(name)
        for k, category in enumerate(categories):
            numbers = sorted({unit for c in categories for unit in c.units})
            units = np.array([[float(n in category.units) for n in numbers]])
            expressions = np.zeros((1, 7))
            for mixed in category.expressions:
                expressions[0, EXPRESSIONS.index(mixed)] = 1 / len(category.expressions)
            valence = np.array([1.0 if category.pleasant else -1.0])
            names = [f"AU{n}" for n in numbers]
            found = scores(categories, expressions, units, valence, names)[0]
            assert found[k] == found.max(), category.name


def test_our_sets_have_the_papers_numbers_of_categories() -> None:
    assert len(load("rafdb")) == 11
    assert [len(c.expressions) for c in load("rafdb")] == [2] * 11
    assert {c.name for c in load("rafdb") if c.pleasant} == {
        "happily surprised",
        "happily disgusted",
    }
    assert sorted(len(c.expressions) for c in load("emotionet")) == [1] * 6 + [2] * 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("category = 1", "expected two or more"),
        ("[[category]]\nname = 'a'\nwhat = 1\n[[category]]", "category 1: takes"),
        ("[[category]]\nunits = [1]\n[[category]]", "category 1: name = None"),
        (
            "[[category]]\nname = 'a'\nexpressions = ['Joy']\nunits = [1]\n[[category]]",
            "expected one or two of Neutral",
        ),
        (
            "[[category]]\nname = 'a'\nexpressions = ['Fear']\nunits = ['AU1']\n[[category]]",
            "expected numbers of units",
        ),
        (
            "[[category]]\nname='a'\nexpressions=['Fear']\nunits=[1]\npleasant=1\n[[category]]",
            "expected true or false",
        ),
        (
            "[[category]]\nname='a'\nexpressions=['Fear']\nunits=[1]\n" * 2,
            "category 'a' stands there twice",
        ),
        ("[[", "not a TOML file"),
    ],
)
def test_categories_that_are_wrong_say_where(tmp_path: Path, text: str, says: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(RecipeError, match=r"own\.toml") as caught:
        load(str(own))
    assert says in str(caught.value)


def test_an_unknown_set_says_which_there_are() -> None:
    with pytest.raises(RecipeError, match="known sets: emotionet, rafdb"):
        load("raf")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-task run on a small cache that is annotated for expressions."""
    from affcache.cli import main

    folder = tmp_path_factory.mktemp("compound")
    cache = publish(folder / "expr.zarr", "expr")
    words = ["train", "--recipe", "mt", "--cache", cache, "--out", folder / "run"]
    for change in ("training.epochs=1", "training.iterations=2", "model.width=8"):
        words += ["--set", change]
    with pytest.raises(SystemExit):
        main([*map(str, words), "--device", "cpu"])
    return folder / "run"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def test_every_frame_gets_its_category_and_a_score_against_labels(
    run: Path, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache("compound", run, "--out", tmp_path / "first", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert sum(row["frames"] for row in document["shares"]) == 80
    said = {path.stem: rows_of(path) for path in (tmp_path / "first").glob("*.csv")}
    names = [c.name for c in load("rafdb")]
    for row in (row for rows in said.values() for row in rows):
        assert row["category"] == max(names, key=lambda name: float(row[name]))
    labels = tmp_path / "labels.csv"
    chosen = [(v, int(r["frame"]), names[int(r["frame"]) % 3]) for v in said for r in said[v]]
    lines = ["video,frame,category", *(f"{v},{f},{c}" for v, f, c in chosen[:60])]
    labels.write_text("\n".join(lines) + "\n")
    scored = json.loads(affcache("compound", run, "--labels", labels, "--json").out)["scores"]
    truth = [category for _, _, category in chosen[:60]]
    predicted = [said[v][f]["category"] for v, f, _ in chosen[:60]]
    recall = recall_score(truth, predicted, labels=names[:3], average="macro", zero_division=0)
    assert scored["frames"] == 60
    assert scored["UAR"] == pytest.approx(recall)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nobody,0,sadly angry", "line 2: no video 'nobody'"),
        ("expr0,20,sadly angry", "line 2: frame '20', expected 0 to 19"),
        ("expr0,0,sad", "line 2: category 'sad', expected one of happily surprised"),
    ],
)
def test_labels_that_do_not_fit_say_which_line(
    run: Path, tmp_path: Path, affcache: Callable[..., Outcome], line: str, says: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"video,frame,category\n{line}\n")
    done = affcache("compound", run, "--labels", labels)
    assert done.status == 2
    assert says in done.err


def test_labels_need_their_columns(
    run: Path, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video,what\n")
    done = affcache("compound", run, "--labels", labels)
    assert done.status == 2
    assert "expected the columns video, frame, category" in done.err


def test_a_run_that_lacks_a_task_says_which(
    trained: Path, affcache: Callable[..., Outcome]
) -> None:
    done = affcache("compound", trained)
    assert done.status == 2
    assert "does not predict expr, au" in done.err
