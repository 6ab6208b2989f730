"""Recipes: what they say, what overrides what, and what is said about a mistake."""

from pathlib import Path

import pytest

from affcache.errors import RecipeError
from stages.train.recipe import FOLDER, Recipe, from_tables, load

RECIPES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_the_default_recipe_is_the_papers() -> None:
    recipe = load("ap")
    assert (recipe.windows.shortest, recipe.windows.longest, recipe.windows.batch) == (35, 70, 16)
    assert recipe.windows.test_length == 70
    adam = recipe.optimiser
    assert (adam.learning_rate, adam.weight_decay, adam.beta1, adam.beta2) == (
        2.5e-4,
        1e-4,
        0.9,
        0.999,
    )
    assert adam.schedule == "cosine"
    assert (recipe.training.epochs, recipe.training.iterations) == (25, 1000)
    assert (recipe.model.loss, recipe.model.context, recipe.model.smallest_context) == (
        "nll",
        40,
        3,
    )
    assert recipe.model.truth_probability == 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_ours_resolves_and_survives_being_written(name: str) -> None:
    recipe = load(recipe=name)
    assert isinstance(recipe, Recipe)
    assert from_tables(recipe.as_dict(), lambda key: key) == recipe


def test_variants_differ_from_the_paper_only_in_their_loss() -> None:
    base = load("ap").as_dict()
    for name, loss in [("ap-kl", "nll+kl"), ("ap-reg", "nll+reg"), ("ap-reg-kl", "nll+reg+kl")]:
        variant = load("ap", name).as_dict()
        assert variant["model"]["loss"] == loss
        assert {k: v for k, v in variant.items() if k != "model"} == {
            k: v for k, v in base.items() if k != "model"
        }


def test_set_has_the_last_word_and_takes_bare_words() -> None:
    recipe = load("ap", "ap-demo", ["training.epochs=3", "model.loss=nll+kl", "windows.batch = 4"])
    assert (recipe.training.epochs, recipe.windows.batch) == (3, 4)
    assert recipe.model.loss == "nll+kl"


def test_a_recipe_file_extends_ours_or_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "ap-kl"\n[training]\nepochs = 2\n')
    (tmp_path / "yours.toml").write_text('extends = "mine"\n[windows]\nbatch = 2\n')
    recipe = load(recipe=str(tmp_path / "yours.toml"))
    assert (recipe.training.epochs, recipe.windows.batch) == (2, 2)
    assert recipe.model.loss == "nll+kl"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epoch=3", "--set training.epoch=3: unknown key 'training.epoch'; did you mean "
         "'training.epochs'? known keys: training.epochs, training.execution, "),
        ("epochs=3", "--set epochs=3: unknown key 'epochs'; did you mean training.epochs?"),
        ("trainng.epochs=3", "--set trainng.epochs=3: unknown key 'trainng'; did you mean "
         "'training'?"),
        ("model.los=nll", "unknown key 'model.los'; did you mean 'model.loss'?"),
        ("training.epochs=0", "training.epochs = 0, expected at least 1"),
        ("training.epochs=2.5", "training.epochs = 2.5, expected a whole number"),
        ("training.epochs=true", "training.epochs = True, expected a whole number"),
        ("optimiser.learning_rate=fast", "optimiser.learning_rate = 'fast', expected a number"),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate = nan, expected at least 0"),
        ("model.truth_probability=1.5", "expected between 0 and 1"),
        ("model.loss=mse", "model.loss = 'mse', expected one of nll, nll+kl, nll+reg, nll+reg+kl"),
        ("windows.shortest=90", "windows.shortest = 90 is above windows.longest = 70"),
        ("model=3", "model = 3, expected a table"),
        ("model.loss.kind=3", "loss is a value, not a table of values"),
        ("task=pose", "task = 'pose', expected of the head 'ap': va + au_intensity"),
        ("epochs", "--set epochs: expected key=value"),
    ],
)  # fmt: skip
def test_a_wrong_change_is_named_with_what_would_be_right(change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load("ap", None, [change])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'head = "ap"\n[modle]\nwidth = 3\n',
            "mine.toml: unknown key 'modle'; did you mean 'model'",
        ),
        (
            'head = "ap"\n[model]\nwidth = "wide"\n',
            "mine.toml: model.width = 'wide', expected a whole",
        ),
        ("head = 3\n", "mine.toml: head = 3, expected the name of a head"),
        ("[model]\nwidth = 3\n", "mine.toml: head = None, expected the name of a head"),
        ('head = "app"\n', "no head 'app'; did you mean 'ap'? known heads: "),
        ("head = \n", "mine.toml: not a TOML file"),
        ('extends = "mine"\n', "extends 'mine', which extends it in turn"),
        ('extends = "appp"\n', "appp: no such recipe file; did you mean 'ap'?"),
        ("extends = 3\n", "extends = 3, expected the name of a recipe"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(recipe=str(tmp_path / "mine.toml"))
    assert message in str(caught.value)


def test_unknown_heads_and_recipes_list_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no head 'gruu'; .*known heads: .*\bap\b"):
        load("gruu")
    with pytest.raises(RecipeError, match="ap-demos: no such recipe file; did you mean 'ap-demo'"):
        load("ap", "ap-demos")


def test_a_recipe_for_another_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('head = "gru"\n')
    with pytest.raises(RecipeError, match="is a recipe for the head 'gru', not for --head ap"):
        load("ap", str(tmp_path / "mine.toml"))
