"""ANCLaF's equations against plain loops, one frame, one stretch, one state at a time."""

import math

import pytest
import torch
from torch import Tensor, nn

from affcache.errors import RecipeError
from stages.train.anclaf.quadrants import quadrants
from stages.train.anclaf.recurrence import Attention, cut, joined, slide, unroll
from stages.train.heads import Sizes, Windows
from stages.train.heads.anclaf import (
    LEAK,
    Anclaf,
    AnclafS,
    AnclafSa,
    AnclafSettings,
    AttentionSettings,
    SequenceSettings,
)
from stages.train.recipe import load

TARGETS = {"va": ("valence", "arousal")}
SMALL = Sizes({"features": 6}, TARGETS, 25.0)


def some_windows(batch: int = 2, frames: int = 11, width: int = 6) -> Windows:
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(batch, frames, width, generator=draw)
    labels, pseudo = torch.rand(2, batch, frames, 2, generator=draw) * 2 - 1
    mask = torch.rand(batch, frames, generator=draw) < 0.75
    nowhere = ~mask[..., None]
    return Windows(
        features, pseudo.masked_fill(nowhere, torch.nan), labels.masked_fill(nowhere, 9.0), mask
    )


def attentive(n: int = 4, context: str = "average", sizes: Sizes = SMALL) -> AnclafSa:
    torch.manual_seed(1)
    return AnclafSa(sizes, AttentionSettings(encoding=7, state=5, n=n, context=context))


@torch.no_grad()
def by_loops(
    head: AnclafS, windows: Windows, b: int, t: int, start: int
) -> tuple[Tensor, list[float]]:
    """Eq. 3 to 8 as they are read for frame t of window b, from an empty state before `start`.

    Eq. 5 is taken at its word, with a W_a for the present state, too. Returns valence and arousal,
    and the weights by past state, the empty one first.
    """
    d = head.settings.state
    h, c = torch.zeros(d), torch.zeros(d)
    past = [torch.cat([h, c])]
    weights: list[float] = []
    for frame in range(start, t + 1):
        if not windows.mask[b, frame]:
            continue
        v, a = windows.pseudo[b, frame].tolist()
        v, a = (1 + v) / 2, (1 + a) / 2
        q = torch.tensor([v * a, (1 - v) * a, (1 - v) * (1 - a), v * (1 - a)])
        zq = torch.cat([windows.features[b, frame], q])
        encoded = nn.functional.leaky_relu(head.encoder(zq), LEAK)
        gates = head.inputs(encoded) + head.recurrent.weight @ h
        if isinstance(head, AnclafSa):
            for_now = torch.linspace(-2, 2, 2 * d)  # eq. 5's share of S_t: any numbers
            now = torch.cat([h, c])
            w_a = torch.cat([for_now, head.attention.weight[0]])
            scores = [math.exp(float(w_a @ torch.cat([now, s]))) for s in past]
            weights = [score / sum(scores) for score in scores]
            context = sum(w * s for w, s in zip(weights, past, strict=True)) / head.divide
            gates = gates + head.context.weight @ context
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        past.append(torch.cat([h, c]))
    return head.output(h), weights


@pytest.mark.parametrize("context", ["average", "printed"])
@pytest.mark.parametrize("n", [2, 4, 16])
def test_training_predicts_every_frame_of_stretches_of_n(n: int, context: str) -> None:
    head, windows = attentive(n, context), some_windows()
    said = head.said(windows)
    assert said.shape == (2, 11, 2)
    for b in range(2):
        for t in windows.mask[b].nonzero()[:, 0].tolist():
            expected, _ = by_loops(head, windows, b, t, start=t - t % n)
            torch.testing.assert_close(said[b, t], expected)


@pytest.mark.parametrize("context", ["average", "printed"])
@pytest.mark.parametrize("n", [2, 4, 16])
def test_testing_predicts_every_frame_as_the_last_of_n(n: int, context: str) -> None:
    head, windows = attentive(n, context), some_windows()
    predicted = head.predict(windows)
    for b in range(2):
        for t in range(11):
            here = predicted.mean[b, t]
            if windows.mask[b, t]:
                expected, _ = by_loops(head, windows, b, t, start=max(0, t - n + 1))
                torch.testing.assert_close(here, expected)
            else:
                assert here.isnan().all()


def test_attention_lies_on_the_frames_that_it_says() -> None:
    n = 4
    head, windows = attentive(n), some_windows()
    attention = head.predict(windows).details["attention"]
    assert attention.shape == (2, 11, n)
    for b in range(2):
        for t in windows.mask[b].nonzero()[:, 0].tolist():
            _, weights = by_loops(head, windows, b, t, start=max(0, t - n + 1))
            expected = [weights[0], *[0.0] * (n - 1)]
            frames = range(t - n + 1, t)
            seen = [j for j, f in enumerate(frames) if f >= 0 and windows.mask[b, f]]
            for j, weight in zip(seen, weights[1:], strict=True):
                expected[j + 1] = weight
            torch.testing.assert_close(attention[b, t], torch.tensor(expected))
    assert attention[~windows.mask].isnan().all()


def test_without_attention_the_recurrence_is_torchs_lstm() -> None:
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5, batch_first=True)
    rows = torch.randn(2, 8, 3)
    drive = rows @ theirs.weight_ih_l0.mT + theirs.bias_ih_l0 + theirs.bias_hh_l0
    steps = unroll(cut(drive, 8), cut(torch.ones(2, 8).bool(), 8), theirs.weight_hh_l0)
    ours = joined([step.hidden for step in steps], 8)
    torch.testing.assert_close(ours, theirs(rows)[0])


def test_cutting_keeps_every_window_to_itself() -> None:
    rows = torch.arange(2 * 7).reshape(2, 7)
    steps = cut(rows, 3)
    assert torch.stack(steps, -1).tolist() == [
        [[0, 1, 2], [3, 4, 5], [6, 0, 0]],
        [[7, 8, 9], [10, 11, 12], [13, 0, 0]],
    ]
    assert joined(steps, 7).equal(rows)


def test_sliding_ends_with_the_frame_itself() -> None:
    rows = torch.arange(1, 5)[None, :, None]
    assert torch.stack(slide(rows, 3), -1)[0, :, 0].tolist() == [
        [0, 0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
    ]


def test_the_recurrences_gradients_are_right() -> None:
    draw = torch.Generator().manual_seed(8)

    def rows(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    mask = torch.rand(2, 6, generator=draw) < 0.7

    def hidden(drive: Tensor, recurrent: Tensor, score: Tensor, context: Tensor) -> Tensor:
        steps = unroll(cut(drive, 3), cut(mask, 3), recurrent, Attention(score, context))
        return joined([step.hidden for step in steps], 6)

    assert torch.autograd.gradcheck(hidden, (rows(2, 6, 8), rows(8, 2), rows(4), rows(8, 4)))


def test_scores_beyond_the_range_of_exp_do_no_harm() -> None:
    head, windows = attentive(8), some_windows()
    with torch.no_grad():
        head.attention.weight.mul_(1e4)
    predicted = head.predict(windows)
    assert predicted.mean[windows.mask].isfinite().all()
    attention = predicted.details["attention"][windows.mask]
    torch.testing.assert_close(attention.sum(-1), torch.ones(len(attention)))


def test_a_prediction_needs_no_more_than_the_last_n_frames() -> None:
    head, windows = attentive(4), some_windows(frames=20)
    short = Windows(*(rows[:, 9:] for rows in windows))
    whole, tail = head.predict(windows).mean[:, 12:], head.predict(short).mean[:, 3:]
    torch.testing.assert_close(tail, whole, equal_nan=True)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_quadrants_are_anticlockwise_and_add_up_to_one(kind: str) -> None:
    corners = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    assert quadrants(corners, kind).equal(torch.eye(4))
    anywhere = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    found = quadrants(anywhere, kind)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(50))


def test_near_zero_soft_quadrants_are_undecided_and_hard_ones_are_not() -> None:
    middle = torch.tensor([[0.0, 0.0], [-1e-6, 1e-6]])
    torch.testing.assert_close(quadrants(middle, "soft"), torch.full((2, 4), 0.25))
    assert quadrants(middle, "hard").tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("kind", [Anclaf, AnclafS, AnclafSa])
def test_the_caches_quadrants_are_preferred_and_used_in_every_variant(kind: type[Anclaf]) -> None:
    torch.manual_seed(0)
    sizes = Sizes({"quadrant": 4, "features": 6, "low": 3}, TARGETS, 25.0)
    head, windows = kind(sizes, kind.Settings()), some_windows(width=13)
    before = head.predict(windows).mean[windows.mask]
    without_pseudo = windows._replace(pseudo=torch.full_like(windows.pseudo, torch.nan))
    assert head.predict(without_pseudo).mean[windows.mask].equal(before)
    for column, matters in [(0, True), (3, True), (4, True), (9, True), (10, False), (12, False)]:
        features = windows.features.clone()
        features[..., column] += 1
        after = head.predict(windows._replace(features=features)).mean[windows.mask]
        assert after.equal(before) != matters


@pytest.mark.parametrize("kind", [Anclaf, AnclafS, AnclafSa])
def test_quadrants_of_pseudo_labels_are_used_in_every_variant(kind: type[Anclaf]) -> None:
    torch.manual_seed(0)
    head, windows = kind(SMALL, kind.Settings()), some_windows()
    other = windows._replace(pseudo=-windows.pseudo)
    assert not head.predict(other).mean[0, 0].equal(head.predict(windows).mean[0, 0])


def test_frames_without_pseudo_labels_are_undecided() -> None:
    torch.manual_seed(0)
    head, windows = Anclaf(SMALL, AnclafSettings()), some_windows()
    unknown = windows._replace(pseudo=torch.full_like(windows.pseudo, torch.nan))
    middle = windows._replace(pseudo=torch.zeros_like(windows.pseudo))
    assert head.predict(unknown).mean[windows.mask].equal(head.predict(middle).mean[windows.mask])


def test_a_cache_without_features_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"reads the stream 'features' as Z; .* gives low, mid"):
        Anclaf(Sizes({"low": 3, "mid": 4}, TARGETS, 25.0), AnclafSettings())


def test_the_attentive_variant_holds_the_plain_ones_weights_by_the_same_names() -> None:
    plain = AnclafS(SMALL, SequenceSettings()).state_dict()
    attentive = AnclafSa(SMALL, AttentionSettings()).state_dict()
    assert attentive.keys() - plain.keys() == {"context.weight", "attention.weight"}
    assert all(attentive[name].shape == rows.shape for name, rows in plain.items())


@pytest.mark.parametrize("variant", ["s", "sa"])
@pytest.mark.parametrize("n", [2, 4, 8, 16, 32])
def test_every_length_of_the_tables_is_a_recipe(variant: str, n: int) -> None:
    recipe = load(None, f"anclaf-{variant}-{n}")
    assert (recipe.head, recipe.model.n) == (f"anclaf-{variant}", n)
