"""The baselines of paper 000 against loops over frames, torch's own layers and printed counts."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from affcache.errors import RecipeError
from stages.train.heads import Sizes, Windows
from stages.train.heads.attention import AttentionSettings, SelfAttention, sines
from stages.train.heads.bigru import BidirectionalGru, BigruSettings
from stages.train.heads.convgru import ConvGru, ConvgruSettings, ConvLayer
from stages.train.heads.mlp import FrameNetwork, MlpSettings
from stages.train.heads.regression import Regression
from stages.train.losses.regression import ccc_loss, mse
from stages.train.recipe import load

SIZES = Sizes({"features": 12}, {"va": ("valence", "arousal")}, 25.0)
PUBLISHED = Sizes({"features": 512}, {"va": ("valence", "arousal")}, 25.0)


def small(kind: type[Regression], sizes: Sizes = SIZES, **settings: Any) -> Regression:
    """A head of few units in float64, in testing mode."""
    few: dict[type, dict[str, Any]] = {
        FrameNetwork: {"width": 5},
        BidirectionalGru: {"states": 4, "layers": 2},
        ConvGru: {"channels": 3, "layers": 2},
        SelfAttention: {"width": 8, "heads": 2, "feedforward": 6},
    }
    torch.manual_seed(0)
    return kind(sizes, kind.Settings(**(few[kind] | settings))).double().eval()


def some_windows(batch: int = 3, frames: int = 11) -> Windows:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(batch, frames, 12, generator=draw, dtype=torch.float64)
    labels = torch.rand(batch, frames, 2, generator=draw, dtype=torch.float64) * 2 - 1
    mask = torch.rand(batch, frames, generator=draw) < 0.7
    labels[~mask] = torch.nan
    return Windows(features, torch.full_like(labels, torch.nan), labels, mask)


def taken(windows: Windows, frames: Tensor) -> Windows:
    """The same windows with only some of their frames."""
    return Windows(*(tensor[:, frames] for tensor in windows))


KINDS = [FrameNetwork, BidirectionalGru, ConvGru, SelfAttention]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: type[Regression]) -> None:
    head, windows = small(kind), some_windows(batch=2, frames=5)
    names = [name for name, _ in head.named_parameters()]

    def value(*weights: Tensor) -> Tensor:
        class Loss(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = head

            def forward(self) -> Tensor:
                return self.head.loss(windows, torch.Generator())["loss"]

        named = {f"head.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    inputs = tuple(p.detach().clone().requires_grad_() for p in head.parameters())
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_weighs_concordance_and_squared_error(kind: type[Regression]) -> None:
    head, windows = small(kind, ccc_weight=0.3, mse_weight=2.0), some_windows()
    terms, said = head.loss(windows, torch.Generator()), head.predict(windows).mean
    concordance = ccc_loss(windows.labels, said, windows.mask)
    error = mse(windows.labels, said, windows.mask)
    torch.testing.assert_close(terms["loss"], 0.3 * concordance + 2 * error)
    torch.testing.assert_close([terms["ccc_loss"], terms["mse"]], [concordance, error])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_a_frame_that_does_not_count_reaches_no_gradient(kind: type[Regression]) -> None:
    head, windows = small(kind), some_windows()
    garbage = windows.features.masked_fill(~windows.mask.unsqueeze(-1), torch.nan)
    head.loss(windows._replace(features=garbage), torch.Generator())["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("kind", [BidirectionalGru, ConvGru])
def test_a_recurrence_runs_over_gaps_as_if_they_were_not_there(kind: type[Regression]) -> None:
    head, windows = small(kind), some_windows()
    gap = torch.tensor([False, False, True, True, False, True, False, False, False, False, True])
    mask = (~gap).expand(3, -1)
    said = head.predict(windows._replace(mask=mask)).mean
    alone = head.predict(taken(windows._replace(mask=mask), ~gap)).mean
    torch.testing.assert_close(said[:, ~gap], alone)
    assert said[:, gap].isnan().all()


@pytest.mark.parametrize("kind", [BidirectionalGru, ConvGru, SelfAttention])
def test_every_frame_sees_the_whole_window(kind: type[Regression]) -> None:
    head, windows = small(kind), some_windows(batch=1)
    features = windows.features.clone().requires_grad_()
    seen = windows._replace(features=features, mask=torch.ones_like(windows.mask))
    for frame in (0, 5, 10):
        (influence,) = torch.autograd.grad(head.predict(seen).mean[0, frame].sum(), features)
        assert (influence[0].abs().sum(-1) > 0).all()


def test_the_frame_network_sees_one_frame() -> None:
    head, windows = small(FrameNetwork), some_windows()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        head.predict(taken(windows, order)).mean, head.predict(windows).mean[:, order],
        equal_nan=True,
    )  # fmt: skip


def test_a_bidirectional_gru_is_torchs_own_over_packed_sequences() -> None:
    head, windows = small(BidirectionalGru), some_windows()
    assert isinstance(head, BidirectionalGru)
    theirs = nn.GRU(12, 4, 2, batch_first=True, bidirectional=True).double()
    weights = {
        name.replace("_l0", f"_l{layer}") + suffix: weight
        for networks, suffix in ((head.forwards, ""), (head.backwards, "_reverse"))
        for layer, network in enumerate(networks)
        for name, weight in network.state_dict().items()
    }
    theirs.load_state_dict(weights)
    counted = [rows[mask] for rows, mask in zip(windows.features, windows.mask, strict=True)]
    packed, _ = theirs(pack_sequence(counted, enforce_sorted=False))
    states, _ = pad_packed_sequence(packed, batch_first=True)
    said = head.predict(windows).mean
    for own, mask, rows in zip(said, windows.mask, states, strict=True):
        torch.testing.assert_close(own[mask], head.readout(rows[: mask.sum()]))


@pytest.mark.parametrize("kind", KINDS)
def test_lower_precision_changes_the_loss_little(kind: type[Regression]) -> None:
    head, windows = small(kind).float(), some_windows()
    windows = Windows(*(t.float() if t.is_floating_point() else t for t in windows))
    exact = head.loss(windows, torch.Generator())["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        coarse = head.loss(windows, torch.Generator())["loss"]
    coarse.backward()
    assert coarse.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def one_direction(layer: ConvLayer, maps: Tensor, counts: Tensor, g: int) -> Tensor:
    """Ballas et al.'s equations for one direction of one sequence, with torch's convolution."""
    width, side = layer.channels, math.isqrt(layer.taps)

    def convolve(rows: Tensor, kernel: Tensor) -> Tensor:
        by_tap = kernel.reshape(side, side, len(rows), -1).permute(3, 2, 0, 1)
        return nn.functional.conv2d(rows.unsqueeze(0), by_tap, padding=side // 2)[0]

    bias = layer.bias[g].reshape(3, width, 1, 1)
    wz, wr, wn = layer.input[g].chunk(3, dim=-1)
    uz, ur = layer.gates[g].chunk(2, dim=-1)
    un = layer.candidate[g]
    h = maps.new_zeros(width, *maps.shape[-2:])
    states = []
    for x, moves in zip(maps, counts, strict=True):
        z = torch.sigmoid(convolve(x, wz) + convolve(h, uz) + bias[0])
        r = torch.sigmoid(convolve(x, wr) + convolve(h, ur) + bias[1])
        n = torch.tanh(convolve(x, wn) + convolve(r * h, un) + bias[2])
        h = (1 - z) * h + z * n if moves else h
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_layer_is_its_equations_in_both_directions(kernel: int) -> None:
    torch.manual_seed(0)
    layer = ConvLayer(4, 3, 3, kernel, 2).double()
    nn.init.normal_(layer.bias)
    maps = torch.randn(2, 6, 2, 4, 3, 3, dtype=torch.float64)
    counts = torch.rand(2, 6, 2) < 0.7
    states = layer(maps.flatten(-2).mT, counts)
    for g, b in itertools.product(range(2), range(2)):
        expected = one_direction(layer, maps[g, :, b], counts[g, :, b], g)
        torch.testing.assert_close(states[g, :, b], expected.flatten(-2).mT)


def test_directions_are_read_in_their_own_order_of_time_and_added() -> None:
    head, windows = small(ConvGru, layers=1), some_windows()
    assert isinstance(head, ConvGru)
    (layer,) = head.layers
    assert isinstance(layer, ConvLayer)
    for rows, mask, said in zip(
        windows.features, windows.mask, head.predict(windows).mean, strict=True
    ):
        maps = rows.masked_fill(~mask.unsqueeze(-1), 0).reshape(11, 3, 2, 2)
        forward = one_direction(layer, maps, mask, 0)
        backward = one_direction(layer, maps.flip(0), mask.flip(0), 1).flip(0)
        expected = head.readout((forward + backward).mean((-2, -1)))
        torch.testing.assert_close(said[mask], expected[mask])


def test_one_direction_does_not_see_what_is_to_come() -> None:
    head, windows = small(ConvGru, directions=1), some_windows()
    short = taken(windows, torch.arange(11) < 6)
    torch.testing.assert_close(
        head.predict(windows).mean[:, :6], head.predict(short).mean, equal_nan=True
    )


def test_features_that_are_no_map_are_refused() -> None:
    with pytest.raises(RecipeError, match="12 features are no maps of 5 x 5"):
        small(ConvGru, side=5)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.kernel = 2, expected an odd number"):
        small(ConvGru, kernel=2)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.heads = 3 does not divide model\.width = 8"):
        small(SelfAttention, heads=3)


def test_attention_is_blind_to_order_only_without_positions() -> None:
    windows = some_windows()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    for positions, blind in (("none", True), ("sines", False)):
        head = small(SelfAttention, positions=positions)
        said = head.predict(windows).mean[:, order]
        shuffled = head.predict(taken(windows, order)).mean
        assert torch.allclose(said, shuffled, equal_nan=True) == blind


def test_attention_is_the_softmax_of_scaled_products_over_frames_that_count() -> None:
    head, windows = small(SelfAttention, layers=1), some_windows()
    assert isinstance(head, SelfAttention)
    layer = head.encoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    attention = layer.self_attn
    for rows, mask, said in zip(
        windows.features, windows.mask, head.predict(windows).mean, strict=True
    ):
        x = (head.entry(rows) + sines(11, 8))[mask]
        q, k, v = nn.functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).split(
            8, dim=-1
        )
        parts = []
        for own in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(q[:, own] @ k[:, own].T / 4**0.5, dim=-1)
            parts.append(weights @ v[:, own])
        x = layer.norm1(x + attention.out_proj(torch.cat(parts, dim=-1)))
        x = layer.norm2(x + layer.linear2(torch.relu(layer.linear1(x))))
        torch.testing.assert_close(said[mask], head.readout(x))


def test_positions_are_vaswanis() -> None:
    rows = sines(50, 6)
    assert rows.shape == (50, 6)
    assert rows[7, 0].item() == pytest.approx(torch.sin(torch.tensor(7.0)).item(), abs=1e-6)
    third = torch.tensor(7 / 10_000 ** (4 / 6))
    assert rows[7, 4].item() == pytest.approx(third.sin().item(), abs=1e-6)
    assert rows[7, 5].item() == pytest.approx(third.cos().item(), abs=1e-6)
    assert sines(3, 5).shape == (3, 5)


def test_a_width_like_the_features_needs_no_entry() -> None:
    wide = Sizes({"features": 8}, SIZES.targets, 25.0)
    assert isinstance(small(SelfAttention, wide).get_submodule("entry"), nn.Identity)


@pytest.mark.parametrize(
    ("kind", "settings", "parameters"),
    [
        (ConvGru, ConvgruSettings(), 8 * (3 * 256 * 128 + 3 * 128) + 128 * 2 + 2),
        (BidirectionalGru, BigruSettings(), 6 * (512 * 256 + 256 * 256 + 2 * 256) + 512 * 2 + 2),
        (SelfAttention, AttentionSettings(), 4_205_568 + 512 * 2 + 2),
        (FrameNetwork, MlpSettings(), 513 * 128 + 129 * 128 + 129 * 2),
    ],
)
def test_parameters_are_those_of_the_papers_figures(
    kind: type[Regression], settings: Any, parameters: int
) -> None:
    head = kind(PUBLISHED, settings)
    assert sum(p.numel() for p in head.parameters()) == parameters


def test_two_layouts_of_a_convolutional_gru_have_the_papers_789_thousand_parameters() -> None:
    """Four layers of 128 channels over maps of 128: what the text leaves open, all combined."""
    found = []
    for taps, biases, directions in itertools.product((1, 2, 3, 4, 5, 9, 16, 25), range(3), (1, 2)):
        layer = 3 * taps * (128 + 128) * 128 + 3 * biases * 128
        parameters = 4 * directions * layer
        if parameters // 1000 == 789:
            found.append((taps, biases, directions, parameters))
    assert found == [(1, 1, 2, 789_504), (2, 2, 1, 789_504)]
    assert round(2 * 16 * 30 * 789_504 / 1e6) == 758


@pytest.mark.parametrize(
    ("name", "length", "task", "batch"),
    [
        ("conv-gru", 30, "va", 16),
        ("bigru", 60, "va", 16),
        ("bigru-au", 60, "au_intensity", 6),
        ("attention", 30, "va", 16),
        ("attention-au", 40, "au_intensity", 6),
    ],
)
def test_recipes_have_the_papers_lengths(name: str, length: int, task: str, batch: int) -> None:
    recipe = load(recipe=name)
    windows = recipe.windows
    assert (windows.shortest, windows.longest, windows.test_length) == (length,) * 3
    assert (recipe.task, windows.batch) == (task, batch)
