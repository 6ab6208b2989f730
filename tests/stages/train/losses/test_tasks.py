"""Losses of an output layer that speaks for several tasks: by hand, by sklearn, by gradcheck."""

import math

import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor

from affcache.metrics import ccc
from stages.train.heads import Sizes
from stages.train.losses.tasks import added, losses, said, unit_cross_entropy

SIZES = Sizes(
    {"features": 4},
    {"va": ("valence", "arousal"), "expr": tuple("abcdefg"), "au": ("AU1", "AU2", "AU4")},
    25.0,
)
EVERYWHERE = torch.ones(2, 5, dtype=torch.bool)


def some(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels and outputs (2, 5, 12), all annotated."""
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.randn(2, 5, 12, generator=draw, dtype=torch.float64)
    affect = torch.rand(2, 5, 2, generator=draw, dtype=torch.float64) * 2 - 1
    chosen = torch.randint(7, (2, 5), generator=draw)
    units = (torch.rand(2, 5, 3, generator=draw) < 0.5).double()
    expression = torch.nn.functional.one_hot(chosen, 7).double()
    return torch.cat([affect, expression, units], -1), outputs


def test_probabilities_are_softmax_and_sigmoid_and_affect_is_as_it_is() -> None:
    _, outputs = some()
    values = said(outputs, SIZES)
    assert torch.equal(values[..., :2], outputs[..., :2])
    torch.testing.assert_close(values[..., 2:9].sum(-1), torch.ones(2, 5, dtype=torch.float64))
    torch.testing.assert_close(values[..., 9:], 1 / (1 + (-outputs[..., 9:]).exp()))


def test_every_task_has_the_loss_that_other_libraries_compute() -> None:
    labels, outputs = some()
    terms = losses(labels, outputs, EVERYWHERE, SIZES)
    flat, said_flat = labels.flatten(0, 1).numpy(), said(outputs, SIZES).flatten(0, 1).numpy()
    concordance = [ccc(flat[:, d], said_flat[:, d]) for d in (0, 1)]
    assert terms["va"].item() == pytest.approx(1 - 0.5 * sum(concordance), abs=1e-6)
    entropy = log_loss(flat[:, 2:9].argmax(1), said_flat[:, 2:9], labels=range(7))
    assert terms["expr"].item() == pytest.approx(entropy)
    units = sum(log_loss(flat[:, k], said_flat[:, k], labels=[0, 1]) for k in (9, 10, 11))
    assert terms["au"].item() == pytest.approx(units)
    total = added(terms)["loss"].item()
    assert total == pytest.approx(sum(term.item() for term in terms.values()))


def test_a_frames_units_are_averaged_over_those_that_are_annotated() -> None:
    nan = math.nan
    truth = torch.tensor([[[1.0, nan, 0.0], [nan, 1.0, nan], [nan, nan, nan]]])
    logits = torch.tensor([[[0.0, 9.0, 0.0], [9.0, 0.0, 9.0], [9.0, 9.0, 9.0]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    half = math.log(2)  # of a unit with logit 0
    assert unit_cross_entropy(truth, logits, mask).item() == pytest.approx(half)
    assert unit_cross_entropy(truth, logits, mask, over="sum").item() == pytest.approx(1.5 * half)
    weights = torch.tensor([[[0.5, 1.0, 0.5], [1.0, 0.2, 1.0], [1.0, 1.0, 1.0]]])
    weighed = unit_cross_entropy(truth, logits, mask, weights).item()
    assert weighed == pytest.approx((0.5 + 0.2) / 2 * half)


@pytest.mark.parametrize("task", ["va", "expr", "au"])
def test_a_task_without_labels_costs_nothing_and_moves_nothing(task: str) -> None:
    labels, outputs = some()
    labels[..., SIZES.columns(task)] = torch.nan
    outputs.requires_grad_()
    terms = losses(labels, outputs, EVERYWHERE, SIZES)
    assert terms[task].item() == 0
    added(terms)["loss"].backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert (outputs.grad[..., SIZES.columns(task)] == 0).all()
    others = [t for t in SIZES.targets if t != task]
    assert all((outputs.grad[..., SIZES.columns(t)] != 0).any() for t in others)


def test_frames_that_do_not_count_have_no_influence_whatever_stands_there() -> None:
    labels, outputs = some()
    mask = EVERYWHERE.clone()
    mask[0, 2:] = False
    before = losses(labels, outputs, mask, SIZES)
    labels[0, 2:], outputs[0, 2:] = 7.0, torch.inf
    after = losses(labels, outputs, mask, SIZES)
    assert all(torch.equal(before[task], after[task]) for task in before)


def test_gradients_are_those_of_the_formulas() -> None:
    labels, outputs = some()
    labels[0, 0, 9] = labels[1, 2, 2:9] = torch.nan
    units = SIZES.columns("au")

    def total(rows: Tensor) -> Tensor:
        return added(losses(labels, rows, EVERYWHERE, SIZES))["loss"]

    def over_annotated(rows: Tensor) -> Tensor:
        return unit_cross_entropy(labels[..., units], rows[..., units], EVERYWHERE)

    for term in (total, over_annotated):
        assert torch.autograd.gradcheck(term, (outputs.requires_grad_(),))
