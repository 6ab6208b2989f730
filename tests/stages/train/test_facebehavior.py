"""FaceBehaviorNet: each coupling adds what it says, from labels of the other task alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from affcache.errors import RecipeError
from affcache.targets import FIXED
from stages.train.heads import Sizes, Windows
from stages.train.heads.facebehavior import FaceBehaviorNet, FaceBehaviorSettings
from stages.train.recipe import FOLDER, load
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome
from tests.stages.train.multitask_world import short, small_world

SIZES = Sizes({"features": 6}, dict(FIXED), 25.0)
EXPR, AU = SIZES.columns("expr"), SIZES.columns("au")


def head(coupling: str, **more: object) -> FaceBehaviorNet:
    torch.manual_seed(0)
    settings = FaceBehaviorSettings(width=8, coupling=coupling, **more)  # type: ignore[arg-type]
    return FaceBehaviorNet(SIZES, settings).eval()


def windows(*tasks: str) -> Windows:
    """Single frames that are labelled for some tasks: Happiness, or its units and no others."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.full((8, 1, SIZES.count), torch.nan)
    if "va" in tasks:
        labels[..., SIZES.columns("va")] = torch.rand(8, 1, 2, generator=draw)
    if "expr" in tasks:
        labels[..., EXPR] = torch.eye(7)[4]
    if "au" in tasks:
        units = [float(name in ("AU6", "AU12", "AU25")) for name in FIXED["au"]]
        labels[..., AU] = torch.tensor(units)
    return Windows(
        torch.randn(8, 1, 6, generator=draw),
        torch.full_like(labels, torch.nan),
        labels,
        torch.ones(8, 1, dtype=torch.bool),
    )


def moved(coupling: str, tasks: str, columns: slice) -> bool:
    """Whether a batch that is labelled for `tasks` has a gradient for an output's columns."""
    one = head(coupling)
    terms = one.loss(windows(tasks), torch.Generator())
    terms["loss"].backward()  # type: ignore[no-untyped-call]
    assert one.output.weight.grad is not None
    return bool((one.output.weight.grad[columns] != 0).any())


def test_without_coupling_a_task_is_taught_by_its_own_labels_alone() -> None:
    assert not moved("none", "expr", AU)
    assert not moved("none", "au", EXPR)
    assert moved("none", "au", AU)


def test_co_annotation_teaches_both_ways() -> None:
    assert moved("co-annotation", "expr", AU)
    assert moved("co-annotation", "au", EXPR)
    assert not moved("co-annotation", "va", EXPR)


def test_soft_co_annotation_teaches_expressions_from_units() -> None:
    assert moved("soft-co-annotation", "au", EXPR)
    assert not moved("soft-co-annotation", "expr", AU)


def test_matching_teaches_from_any_frame() -> None:
    assert moved("distr-matching", "va", EXPR)
    assert moved("distr-matching", "va", AU)


def test_a_co_annotated_batch_costs_as_much_as_one_that_is_annotated() -> None:
    one = head("co-annotation")
    taught = one.loss(windows("au"), torch.Generator())["expr"]
    annotated = one.loss(windows("expr", "au"), torch.Generator())["expr"]
    assert taught == annotated


def test_terms_are_recorded_by_name_and_add_up() -> None:
    one = head("soft-co-annotation+distr-matching", coupling_weight=0.5, au_weight=2.0)
    terms = {n: t.item() for n, t in one.loss(windows("va", "au"), torch.Generator()).items()}
    assert {*terms} == {"loss", "va", "expr", "au", "soft-co-annotation", "distr-matching"}
    assert terms["expr"] == 0
    total = terms.pop("loss")
    assert total == pytest.approx(sum(terms.values()), rel=1e-6)


def test_a_coupling_needs_both_tasks() -> None:
    sizes = Sizes({"features": 6}, {"va": FIXED["va"], "expr": FIXED["expr"]}, 25.0)
    with pytest.raises(RecipeError, match=r"set task = .va\+expr\+au"):
        FaceBehaviorNet(sizes, FaceBehaviorSettings())
    assert FaceBehaviorNet(sizes, FaceBehaviorSettings(coupling="none"))


def test_it_predicts_where_the_relatedness_file_is_gone(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('source = "me"\n[Fear]\nprototypical = [1]\n')
    one = head("distr-matching", relatedness=str(own))
    one.loss(windows("va"), torch.Generator())
    own.unlink()
    fresh = head("distr-matching", relatedness=str(own))
    assert fresh.predict(windows("va")).mean.isfinite().all()
    with pytest.raises(RecipeError, match=r"own\.toml"):
        fresh.loss(windows("va"), torch.Generator())


def test_a_relatedness_file_is_read_before_a_run_is_made_and_recorded(
    tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    world, own = small_world(tmp_path / "world.zarr"), tmp_path / "own.toml"
    words = [
        "train", "--recipe", "facebehaviornet", "--cache", world, "--out", tmp_path / "run",
        "--set", "windows.mix=[]", "--set", f"model.relatedness={own}", *short(),
    ]  # fmt: skip
    done = affcache(*words)
    assert done.status == 2
    assert "own.toml': no such file and none of ours" in done.err
    assert not (tmp_path / "run").exists()

    own.write_text('source = "me"\n[Fear]\nprototypical = [1]\n')
    assert affcache(*words).status == 0
    expected = {"source": "me", "weights": {"Fear": {"1": 1.0}}}
    assert open_run(tmp_path / "run").config["files"] == {"relatedness": expected}
    assert affcache(*words).status == 0, "the same run goes on"
    own.write_text('source = "me"\n[Fear]\nprototypical = [2]\n')
    changed = affcache(*words)
    assert changed.status == 2
    assert "holds another run (files.relatedness.weights.Fear.1: 1.0 there, absent" in changed.err


def test_an_uncoupled_network_reads_no_file() -> None:
    settings = FaceBehaviorSettings(coupling="none", relatedness="nowhere.toml")
    assert FaceBehaviorNet.files(settings) == {}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("facebehaviornet*.toml")))
def test_every_ablation_is_a_recipe(name: str) -> None:
    recipe = load(recipe=name)
    assert recipe.head == "facebehaviornet"
    assert FaceBehaviorNet(SIZES, recipe.model).loss(windows("va", "au"), torch.Generator())
