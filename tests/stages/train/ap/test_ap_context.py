"""Which frames become the context, and what labels they show."""

import pytest
import torch

from affcache.errors import RecipeError
from stages.train.ap.context import (
    by_rule,
    lowest,
    parse,
    random_context,
    show_truth,
)
from tests.stages.train.ap.ap_windows import a_head, drawn, some_windows


@pytest.mark.parametrize("context", [1, 5, 40])
def test_few_context_frames_are_the_least_uncertain_ones(context: int) -> None:
    head, windows = a_head(context=context), some_windows()
    r = head.encode(windows.features, torch.where(windows.mask[..., None], windows.pseudo, 0))
    chosen = head.select(r, windows.mask)
    uncertainty = head.latent(r).std.norm(dim=-1)
    assert torch.equal(chosen.sum(-1), windows.mask.sum(-1).clamp(max=context))
    assert not (chosen & ~windows.mask).any()
    for row, mask, score in zip(chosen, windows.mask, uncertainty, strict=True):
        left = mask & ~row
        assert not left.any() or score[row].max() <= score[left].min()


def test_random_contexts_are_uniform_in_size_and_place() -> None:
    mask = torch.ones(20_000, 12, dtype=torch.bool)
    mask[:, 9:] = False
    context = random_context(mask, 3, drawn())
    assert not (context & ~mask).any()
    counts = torch.bincount(context.sum(-1), minlength=13)
    assert counts[:3].sum() == 0
    assert counts[10:].sum() == 0
    assert (counts[3:10] / 20_000 - 1 / 7).abs().max() < 0.01
    places = context[:, :9].float().mean(0)
    assert (places - places.mean()).abs().max() < 0.015


def test_a_window_with_fewer_frames_than_the_smallest_context_uses_them_all() -> None:
    mask = torch.zeros(4, 10, dtype=torch.bool)
    mask[:, [2, 7]] = True
    assert torch.equal(random_context(mask, 3, drawn()), mask)


def test_ties_in_uncertainty_go_to_the_earlier_frame() -> None:
    mask = torch.tensor([[True, False, True, True]])
    assert lowest(torch.zeros(1, 4), mask, torch.tensor([2])).tolist() == [
        [True, False, True, False]
    ]


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_context_labels_are_the_truth_in_a_share_of_sequences(chance: float, share: float) -> None:
    known = torch.ones(10_000, 3, 2, dtype=torch.bool)
    shown = show_truth(known.float(), known, torch.zeros(10_000, 3, 2), chance, drawn())
    assert torch.equal(shown.amin((1, 2)), shown.amax((1, 2)))
    assert shown.mean().item() == pytest.approx(share, abs=0.02)


def test_a_pseudo_label_stands_in_where_there_is_no_annotation() -> None:
    known = torch.tensor([[[True, False]]])
    truth, pseudo = torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[0.1, -0.2]]])
    assert torch.equal(
        show_truth(truth, known, pseudo, 1.0, drawn()), torch.tensor([[[0.5, -0.2]]])
    )


def test_largest_and_lowest_are_the_ends_of_one_order() -> None:
    score = torch.rand(4, 9, generator=drawn())
    mask = torch.rand(4, 9, generator=drawn(1)) < 0.8
    for row in range(4):
        order = sorted(mask[row].nonzero()[:, 0].tolist(), key=lambda t: score[row, t].item())
        low = by_rule(score, mask, "lowest", 3)[row].nonzero()[:, 0].tolist()
        large = by_rule(score, mask, "largest", 3)[row].nonzero()[:, 0].tolist()
        assert low == sorted(order[:3])
        assert large == sorted(order[-3:])


def test_random_contexts_in_testing_repeat_and_do_not_depend_on_the_batch_or_the_score() -> None:
    mask = torch.ones(3, 50, dtype=torch.bool)
    mask[1, ::2] = False
    first = by_rule(torch.rand(3, 50), mask, "random", 10)
    assert torch.equal(by_rule(torch.zeros(3, 50), mask, "random", 10), first)
    assert torch.equal(by_rule(torch.zeros(1, 50), mask[1:2], "random", 10), first[1:2])
    assert first.sum(-1).tolist() == [10, 10, 10]
    assert not (first & ~mask).any()
    assert first[0].nonzero()[:, 0].float().std() > 8


def test_no_number_of_frames_means_all_of_them() -> None:
    mask = torch.rand(2, 30, generator=drawn()) < 0.5
    for rule in ("lowest", "largest", "random"):
        assert torch.equal(by_rule(torch.zeros(2, 30), mask, rule, 0), mask)
        assert torch.equal(by_rule(torch.zeros(2, 30), mask, rule, 99), mask)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("lowest:40", ("lowest", 40)), ("random:1", ("random", 1)), ("all", ("lowest", 0))],
)
def test_a_context_is_named_by_rule_and_number(text: str, expected: tuple[str, int]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["lowest", "40", "lowest:0", "lowest:-3", "best:4", "lowest:4.5", ""]
)
def test_other_contexts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(RecipeError, match=r"expected all, or lowest.*such as lowest:40"):
        parse(text)
