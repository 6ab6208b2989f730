"""The streaming head: which stage hears of which, what sees time, and the layer over gaps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from affcache.schema import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from stages.train.heads import Sizes, Windows
from stages.train.heads.compact import over_counted
from stages.train.heads.streaming import Streaming, StreamingSettings

TARGETS = {"va": DIMENSIONS, "expr": EXPRESSIONS, "au": tuple(map(str, ACTION_UNITS))}
SIZES = Sizes({"features": 512}, TARGETS, 25.0)


def make(sizes: Sizes = SIZES, **settings: Any) -> Streaming:
    torch.manual_seed(0)
    return Streaming(sizes, StreamingSettings(**settings))


def windows(frames: int = 12) -> Windows:
    draw = torch.Generator().manual_seed(1)
    va = torch.rand(2, frames, 2, generator=draw) * 2 - 1
    expr = nn.functional.one_hot(torch.randint(7, (2, frames), generator=draw), 7)
    au = torch.rand(2, frames, 12, generator=draw) < 0.3
    labels = torch.cat([va, expr, au], dim=-1)
    features = torch.randn(2, frames, 512, generator=draw)
    mask = torch.ones(2, frames, dtype=torch.bool)
    mask[1, 3:5] = False
    return Windows(features, torch.full_like(labels, torch.nan), labels, mask)


def only(task: str, given: Windows) -> Windows:
    """The same windows, annotated for one task alone."""
    labels = torch.full_like(given.labels, torch.nan)
    labels[..., SIZES.columns(task)] = given.labels[..., SIZES.columns(task)]
    return given._replace(labels=labels)


def reached(head: Streaming, given: Windows) -> set[str]:
    """The parts of the head that a loss moves, such as "au.extractor"."""
    head.zero_grad()
    head.loss(given, torch.Generator())["loss"].backward()
    moved = [n for n, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    return {".".join(name.split(".")[1:3]) for name in moved}


def test_its_widths_are_the_papers() -> None:
    def layer(given: int, made: int) -> int:
        return (given + 1) * made

    au = layer(512, 12 * 16) + layer(192, 64) + layer(64, 12)
    expr = layer(512, 64) + layer(192, 64) + layer(64, 64) + layer(128, 64) + layer(64, 7)
    va = layer(512, 64) + layer(192 + 128, 64) + layer(64, 64) + layer(128, 64) + layer(64, 2)
    assert sum(p.numel() for p in make().parameters()) == au + expr + va


def test_a_label_teaches_the_stages_before_its_own_through_the_translations() -> None:
    own = {"va.extractor", "va.predictor"}
    before = {"au.extractor", "expr.extractor", "expr.translation"}
    given = only("va", windows())
    assert reached(make(), given) == own | before | {"va.translation"}
    assert reached(make(translations="none"), given) == own
    assert reached(make(translations="au-expr"), given) == own
    through = {"au.extractor", "expr.extractor", "va.translation"}
    assert reached(make(translations="au+expr-va"), given) == own | through


def test_a_label_never_moves_the_stages_behind_its_own() -> None:
    assert reached(make(), only("au", windows())) == {"au.extractor", "au.predictor"}
    assert not {part for part in reached(make(), only("expr", windows())) if part.startswith("va")}


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("recurrent", ["none", "gru"])
def test_a_task_without_labels_contributes_exactly_nothing(task: str, recurrent: str) -> None:
    head, given = make(recurrent=recurrent), windows()
    terms = head.loss(only(task, given), torch.Generator())
    mine = {"au": {"circle", "bce"}, "expr": {"expr"}, "va": {"va"}}[task]
    whole = head.loss(given, torch.Generator())
    for name, value in terms.items():
        if name in mine:
            torch.testing.assert_close(value, whole[name])
        elif name != "loss":
            assert value.item() == 0
    head.zero_grad()
    nothing = given._replace(labels=torch.full_like(given.labels, torch.nan))
    head.loss(nothing, torch.Generator())["loss"].backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in head.parameters())


def test_the_loss_of_valence_and_arousal_is_2_minus_both_concordances() -> None:
    from affcache.metrics import ccc

    head, given = make(), windows()
    said = head.predict(given).mean[given.mask][:, :2].detach()
    truth = given.labels[given.mask][:, :2]
    both = [ccc(truth[:, d].numpy(), said[:, d].numpy()) for d in range(2)]
    value = head.loss(given, torch.Generator())["va"].item()
    assert value == pytest.approx(2 - sum(both), abs=1e-5)


def test_what_it_says_are_probabilities_and_numbers_in_range() -> None:
    given = windows()
    said = make(recurrent="gru").predict(given).mean[given.mask]
    assert (said[:, SIZES.columns("va")].abs() < 1).all()
    torch.testing.assert_close(said[:, SIZES.columns("expr")].sum(-1), torch.ones(len(said)))
    units = said[:, SIZES.columns("au")]
    assert ((units > 0) & (units < 1)).all()


@pytest.mark.parametrize("tasks", ["va", "expr", "au", "expr+au", "va+au", "va+expr"])
def test_any_of_the_tasks_will_do(tasks: str) -> None:
    sizes = replace(SIZES, targets={task: TARGETS[task] for task in tasks.split("+")})
    given = windows()
    columns = torch.cat([given.labels[..., SIZES.columns(t)] for t in tasks.split("+")], dim=-1)
    head = make(sizes)
    assert head.loss(given._replace(labels=columns), torch.Generator())["loss"].isfinite()
    assert head.predict(given).mean.shape == (2, 12, sizes.count)


def test_stages_without_memory_judge_a_frame_by_itself_and_those_with_one_by_the_past() -> None:
    given = windows()
    changed = given.features.clone()
    changed[:, 6] = 3.0
    for recurrent, touched in (("none", {6}), ("gru", set(range(6, 12)))):
        head = make(recurrent=recurrent)
        before, after = (
            head.predict(given).mean,
            head.predict(given._replace(features=changed)).mean,
        )
        moved = (before != after).nan_to_num().any(-1)[0].nonzero().flatten().tolist()
        assert set(moved) == touched


def stepwise(layer: nn.GRU, rows: Tensor, mask: Tensor) -> Tensor:
    """The layer one frame at a time, told only of frames that count."""
    out = torch.zeros(*mask.shape, layer.hidden_size, dtype=rows.dtype)
    for b in range(len(rows)):
        state = torch.zeros(1, 1, layer.hidden_size, dtype=rows.dtype)
        for t in mask[b].nonzero().flatten().tolist():
            made, state = layer(rows[b : b + 1, t : t + 1], state)
            out[b, t] = made[0, 0]
    return out


def test_a_gap_leaves_the_state_as_it_was() -> None:
    draw = torch.Generator().manual_seed(2)
    layer = nn.GRU(3, 4, batch_first=True).double()
    rows = torch.randn(3, 9, 3, generator=draw, dtype=torch.float64)
    mask = torch.rand(3, 9, generator=draw) < 0.6
    mask[2] = False
    rows[~mask] = torch.nan
    made = over_counted(lambda x: layer(x)[0], rows, mask)
    torch.testing.assert_close(made, stepwise(layer, rows, mask))
    made.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
