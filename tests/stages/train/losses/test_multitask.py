"""Losses of expressions and action units against formulas written out and other libraries."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck

from stages.train.losses.classes import binary_cross_entropy, circle, smoothed, soft_cross_entropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "soft cross entropy": lambda t, s, m: soft_cross_entropy(t, s, m, 0.9),
    "soft cross entropy as printed": lambda t, s, m: soft_cross_entropy(t, s, m, 0.9, "each"),
    "binary cross entropy": binary_cross_entropy,
    "circle": circle,
}


def labels(name: str, draw: torch.Generator, shape: tuple[int, int] = (2, 5)) -> Tensor:
    """Random labels (2, 5, 7) of the kind that a loss takes, all of them there."""
    if "soft" in name:
        classes = torch.randint(7, shape, generator=draw)
        return F.one_hot(classes, 7).double()
    return (torch.rand(*shape, 7, generator=draw) < 0.4).double()


def made(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Labels with frames and, for units, single columns missing; logits; a mask with holes."""
    draw = torch.Generator().manual_seed(3)
    truth = labels(name, draw)
    truth[0, 1] = torch.nan
    if "soft" not in name:
        truth[1, 2, 3:] = torch.nan
    logits = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 4] = False
    return truth, logits, mask


def test_smoothed_labels_are_those_of_torch() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = labels("soft", draw)
    logits = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    everywhere = torch.ones(2, 5, dtype=torch.bool)
    ours = soft_cross_entropy(truth, logits, everywhere, kept=0.9)
    # torch spreads its smoothing over all classes, the annotated one included
    smoothing = 0.1 * 7 / 6
    theirs = F.cross_entropy(
        logits.flatten(0, 1), truth.argmax(-1).flatten(), label_smoothing=smoothing
    )
    torch.testing.assert_close(ours, theirs)
    plain = F.cross_entropy(logits.flatten(0, 1), truth.argmax(-1).flatten())
    torch.testing.assert_close(soft_cross_entropy(truth, logits, everywhere), plain)


def test_equation_4_as_printed_but_for_its_sign() -> None:
    truth = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    logits = torch.tensor([[[0.3, -1.0, 2.0, 0.1, 0.0, 0.7, -0.2]]])
    z = [math.exp(s) for s in logits.flatten().tolist()]
    z = [value / sum(z) for value in z]
    printed = 0.9 * math.log(z[2]) + sum(0.1 * math.log(z[i]) for i in range(7) if i != 2)
    everywhere = torch.ones(1, 1, dtype=torch.bool)
    ours = soft_cross_entropy(truth, logits, everywhere, 0.9, "each")
    assert ours.item() == pytest.approx(-printed, rel=1e-6)


@pytest.mark.parametrize(("others", "best"), [("shared", 0.9), ("each", 0.6)])
def test_what_probability_the_soft_cross_entropy_asks_for(others: str, best: float) -> None:
    weights = smoothed(F.one_hot(torch.tensor(2), 7).double(), 0.9, others)
    assert (weights / weights.sum())[2].item() == pytest.approx(best)


def test_single_units_have_torchs_cross_entropy() -> None:
    truth, logits, mask = made("binary cross entropy")
    there = truth.isfinite() & mask[..., None]
    theirs = F.binary_cross_entropy_with_logits(logits[there], truth[there])
    torch.testing.assert_close(binary_cross_entropy(truth, logits, mask), theirs)


def test_the_circle_loss_is_equation_1_frame_by_frame() -> None:
    truth, logits, mask = made("circle")
    said = []
    for units, scores, counts in zip(
        *(v.flatten(0, 1).tolist() for v in (truth, logits, mask)), strict=True
    ):
        pairs = list(zip(units, scores, strict=True))
        absent = [math.exp(s) for unit, s in pairs if unit == 0]
        present = [math.exp(-s) for unit, s in pairs if unit == 1]
        if counts and (absent or present):
            said.append(math.log(1 + sum(absent)) + math.log(1 + sum(present)))
    assert len(said) == 8
    assert circle(truth, logits, mask).item() == pytest.approx(sum(said) / len(said))


def test_the_circle_loss_does_not_overflow() -> None:
    truth = torch.tensor([[[0.0, 1.0, 0.0]]])
    logits = torch.tensor([[[300.0, -400.0, -500.0]]], requires_grad=True)
    value = circle(truth, logits, torch.ones(1, 1, dtype=torch.bool))
    value.backward()
    assert value.item() == pytest.approx(700.0)
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx([1.0, -1.0, 0.0])


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    truth, logits, mask = made(name)
    assert gradcheck(lambda s: LOSSES[name](truth, s, mask), logits.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_what_does_not_count_has_no_influence_whatever_lies_there(name: str) -> None:
    truth, logits, mask = made(name)
    dead = ~(truth.isfinite() & mask[..., None])
    wild = torch.where(dead, torch.tensor(torch.inf), logits).requires_grad_()
    value = LOSSES[name](truth, wild, mask)
    torch.testing.assert_close(value, LOSSES[name](truth, logits, mask), rtol=0, atol=0)
    value.backward()
    assert wild.grad is not None
    assert (wild.grad[dead] == 0).all()
    assert wild.grad[~dead].isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("why", ["no label", "no face"])
def test_a_batch_without_a_label_contributes_exactly_nothing(name: str, why: str) -> None:
    truth, logits, mask = made(name)
    if why == "no label":
        truth = torch.full_like(truth, torch.nan)
    else:
        mask = torch.zeros_like(mask)
    given = logits.requires_grad_()
    value = LOSSES[name](truth, given, mask)
    value.backward()
    assert value.item() == 0
    assert given.grad is not None
    assert (given.grad == 0).all()
