"""The Affective Process against its printed form, brute force and the paper's complexity."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.utils.flop_counter import FlopCounterMode

from stages.train.gaussians import Gaussian
from stages.train.heads import Sizes, Windows
from stages.train.heads.ap import (
    LOSSES,
    AffectiveProcess,
    ApSettings,
    lowest,
    masked_mean,
    over_frames,
    random_context,
    regulariser,
    show_truth,
)


class Printed(nn.Module):
    """Figure 2 of paper 000 word by word: concatenations, three-layer networks, one frame a row."""

    def __init__(self, wide: int, width: int, targets: int) -> None:
        super().__init__()
        self.upsample = nn.Linear(targets, wide)
        self.encoder = nn.Sequential(
            nn.Linear(2 * wide, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width),
        )  # fmt: skip
        self.common = nn.Linear(width, width)
        self.latent_mean = nn.Linear(width, width)
        self.latent_std = nn.Linear(width, width)
        self.decoder = nn.Sequential(
            nn.Linear(wide + width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
        )  # fmt: skip
        self.mean = nn.Linear(width, targets)
        self.std = nn.Linear(width, targets)

    def encode(self, features: Tensor, labels: Tensor) -> Tensor:
        return self.encoder(torch.cat([features, self.upsample(labels)], dim=-1))

    def forward(self, features: Tensor, labels: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """One sequence: features (L, D), labels (L, k), context (L,) bool."""
        r = self.encode(features, labels)[context].mean(dim=0)
        shared = torch.relu(self.common(r))
        z = self.latent_mean(shared)
        self.latent_std(shared)
        hidden = self.decoder(torch.cat([features, z.expand(len(features), -1)], dim=-1))
        return self.mean(hidden), self.std(hidden)

    @classmethod
    def of(cls, head: AffectiveProcess, wide: int, targets: int) -> "Printed":
        """The printed form with the weights of a head."""
        printed = cls(wide, head.settings.width, targets)
        weights, renamed = dict(head.state_dict()), {}
        for layers in ("encoder", "decoder"):
            for mine, theirs in (("first", 0), ("second", 2), ("third", 4)):
                for kind in ("weight", "bias"):
                    renamed[f"{layers}.{theirs}.{kind}"] = weights.pop(f"{layers}.{mine}.{kind}")
        printed.load_state_dict(weights | renamed)
        return printed


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of every nn.Linear that a call of `module` runs, bias additions not counted."""
    total = 0

    def count(layer: nn.Linear, given: tuple[Tensor, ...], _: Tensor) -> None:
        nonlocal total
        total += given[0][..., 0].numel() * layer.in_features * layer.out_features

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.Linear)]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return total


def a_head(dtype: torch.dtype = torch.float64, **settings: Any) -> AffectiveProcess:
    torch.manual_seed(0)
    return AffectiveProcess(Sizes(12, 2), ApSettings(width=8, **settings)).to(dtype)


def some_windows(batch: int = 3, frames: int = 20, dtype: torch.dtype = torch.float64) -> Windows:
    """Random windows with a few frames that do not count, full of NaN as in a cache."""
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(batch, frames, 12, generator=draw, dtype=dtype)
    labels, pseudo = torch.rand(2, batch, frames, 2, generator=draw, dtype=dtype) * 2 - 1
    mask = torch.rand(batch, frames, generator=draw) < 0.7
    features[~mask] = 0
    labels[~mask] = torch.nan
    pseudo[~mask] = torch.nan
    return Windows(features, pseudo, labels, mask)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_complexity_is_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    head = AffectiveProcess(Sizes(512, 2), ApSettings())
    printed = Printed.of(head, 512, 2)
    parameters = sum(p.numel() for p in head.parameters())
    inputs = torch.randn(70, 512), torch.randn(70, 2), torch.ones(70, dtype=torch.bool)
    as_printed = multiply_adds(printed, *inputs)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        r = head.encode(inputs[0][None], inputs[1][None])
        head.decode(inputs[0][None], head.latent(masked_mean(r, inputs[2][None])).mean)
    ours = counter.get_total_flops() // 2
    with capsys.disabled():
        print(
            f"\nAffective Process at D = 512: {parameters:,} parameters (paper: ~330 K), "
            f"{as_printed / 1e6:.2f} M multiply-adds for 70 frames (paper: ~20 M); "
            f"as computed here, without concatenations: {ours / 1e6:.2f} M"
        )
    assert parameters == 330_884
    assert parameters == pytest.approx(330_000, rel=0.03)
    assert as_printed == pytest.approx(20e6, rel=0.03)
    assert ours < as_printed


def test_it_computes_what_the_printed_network_computes() -> None:
    head, windows = a_head(), some_windows()
    printed = Printed.of(head, 12, 2).double()
    predicted = head.predict(windows)
    assert predicted.std is not None
    for i, mask in enumerate(windows.mask):
        pseudo = torch.where(mask[:, None], windows.pseudo[i], 0)
        each = printed.latent_std(
            torch.relu(printed.common(printed.encode(windows.features[i], pseudo)))
        )
        sigma = 0.01 + 0.99 * torch.sigmoid(each)
        order = sorted(mask.nonzero()[:, 0].tolist(), key=lambda t: sigma[t].norm().item())
        context = torch.zeros(len(mask), dtype=torch.bool)
        context[order[: head.settings.context]] = True
        mean, raw = printed(windows.features[i], pseudo, context)
        torch.testing.assert_close(predicted.mean[i][mask], mean[mask])
        std = 0.1 + nn.functional.softplus(raw[mask])
        torch.testing.assert_close(predicted.std[i][mask], std)


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


def test_the_order_of_the_context_does_not_matter() -> None:
    head, windows = a_head(), some_windows()
    order = torch.randperm(20, generator=drawn(3))
    shuffled = Windows(*(tensor[:, order] for tensor in windows))
    straight, other = head.predict(windows), head.predict(shuffled)
    torch.testing.assert_close(straight.mean[:, order], other.mean, equal_nan=True)


def test_what_lies_in_frames_that_do_not_count_changes_nothing() -> None:
    head, windows = a_head(loss="nll+reg+kl"), some_windows()
    garbage = windows.features.masked_fill(~windows.mask[..., None], 77.0)
    other = windows._replace(
        features=garbage,
        pseudo=windows.pseudo.nan_to_num(5.0),
        labels=windows.labels.nan_to_num(-9.0),
    )
    assert head.loss(windows, drawn())["loss"] == head.loss(other, drawn())["loss"]
    torch.testing.assert_close(
        head.predict(windows).mean, head.predict(other).mean, equal_nan=True, rtol=0, atol=0
    )


def test_a_window_without_a_face_predicts_nothing_and_harms_nothing() -> None:
    head, windows = a_head(), some_windows()
    mask = windows.mask.clone()
    mask[1] = False
    predicted = head.predict(windows._replace(mask=mask))
    assert predicted.mean[1].isnan().all()
    torch.testing.assert_close(predicted.mean[0], head.predict(windows).mean[0], equal_nan=True)


def test_labels_are_not_looked_at_in_testing() -> None:
    head, windows = a_head(), some_windows()
    blind = windows._replace(labels=torch.full_like(windows.labels, torch.nan))
    torch.testing.assert_close(
        head.predict(windows).mean, head.predict(blind).mean, equal_nan=True, rtol=0, atol=0
    )


def test_masked_mean_is_a_loop_over_frames() -> None:
    rows, mask = torch.randn(3, 9, 4, generator=drawn()), torch.rand(3, 9, generator=drawn(1)) < 0.5
    mask[2] = False
    expected = [rows[i][mask[i]].sum(0) / max(int(mask[i].sum()), 1) for i in range(3)]
    torch.testing.assert_close(masked_mean(rows, mask), torch.stack(expected))


def test_terms_are_summed_or_averaged_over_frames_that_count() -> None:
    terms, mask = (
        torch.randn(2, 6, 2, generator=drawn()),
        torch.rand(2, 6, generator=drawn(1)) < 0.5,
    )
    totals = torch.stack([terms[i][mask[i]].sum() for i in range(2)])
    torch.testing.assert_close(over_frames(terms, mask, "sum"), totals)
    torch.testing.assert_close(over_frames(terms, mask, "mean"), totals / mask.sum(-1))


@pytest.mark.parametrize("reading", ["sum", "mean"])
def test_the_regulariser_is_a_divergence_from_the_standard_normal(reading: str) -> None:
    windows = some_windows()
    output = Gaussian(windows.features[..., :2], 0.1 + windows.features[..., 2:4].abs())
    expected = []
    for mean, std, mask in zip(*output, windows.mask, strict=True):
        pooled = [getattr(rows[mask], reading)(0) for rows in (mean, std)]
        expected.append(kl_divergence(Normal(*pooled), Normal(0.0, 1.0)).sum())
    torch.testing.assert_close(
        regulariser(output, windows.mask, reading), torch.stack(expected).double()
    )


def test_the_printed_sum_asks_for_deviations_that_shrink_with_length() -> None:
    """Why the mean is the default: at L frames the sum is least where each deviation is 1 / L."""
    for frames in (10, 70):
        mask = torch.ones(1, frames, dtype=torch.bool)
        each = torch.linspace(0.005, 1.5, 1_000)
        values = [
            regulariser(
                Gaussian(torch.zeros(1, frames, 1), torch.full((1, frames, 1), float(s))),
                mask,
                "sum",
            ).item()
            for s in each
        ]
        assert each[int(torch.tensor(values).argmin())].item() == pytest.approx(
            1 / frames, abs=2e-3
        )


def test_random_contexts_are_uniform_in_size_and_place() -> None:
    mask = torch.ones(20_000, 12, dtype=torch.bool)
    mask[:, 9:] = False
    context = random_context(mask, 3, drawn())
    assert not (context & ~mask).any()
    sizes = torch.bincount(context.sum(-1), minlength=13)
    assert sizes[:3].sum() == 0
    assert sizes[10:].sum() == 0
    assert (sizes[3:10] / 20_000 - 1 / 7).abs().max() < 0.01
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
    shown = show_truth(torch.ones(10_000, 3, 2), torch.zeros(10_000, 3, 2), chance, drawn())
    assert torch.equal(shown.amin((1, 2)), shown.amax((1, 2)))
    assert shown.mean().item() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reading", ["sum", "mean"])
def test_gradients_of_every_loss_are_those_of_finite_differences(loss: str, reading: str) -> None:
    head = a_head(loss=loss, likelihood=reading)
    windows = some_windows(batch=2, frames=6)
    names = [name for name, _ in head.named_parameters()]

    def value(*weights: Tensor) -> Tensor:
        class Loss(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = head

            def forward(self) -> Tensor:
                return self.head.loss(windows, drawn())["loss"]

        named = {f"head.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    inputs = tuple(p.detach().clone().requires_grad_() for p in head.parameters())
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_sum_of_the_terms_it_names(loss: str) -> None:
    terms = a_head(loss=loss).loss(some_windows(), drawn())
    assert set(terms) == {"loss", *loss.split("+")}
    total = sum(value for name, value in terms.items() if name != "loss")
    torch.testing.assert_close(terms["loss"], total)


def test_the_likelihood_is_that_of_the_printed_network_at_the_drawn_latent() -> None:
    """All frames are context, their truth is shown, z is narrow: nothing is left to chance."""
    head = a_head(truth_probability=1.0, smallest_context=20, latent_floor=1e-9)
    nn.init.zeros_(head.latent_std.weight)
    nn.init.constant_(head.latent_std.bias, -40.0)
    windows = some_windows()
    printed = Printed.of(head, 12, 2).double()
    expected = []
    for features, labels, mask in zip(windows.features, windows.labels, windows.mask, strict=True):
        mean, raw = printed(features, torch.where(mask[:, None], labels, 0), mask)
        under = Normal(mean[mask], 0.1 + nn.functional.softplus(raw[mask]))
        expected.append(-under.log_prob(labels[mask]).sum(-1).mean())
    terms = head.loss(windows, drawn())
    torch.testing.assert_close(terms["nll"], torch.stack(expected).mean(), rtol=1e-6, atol=1e-6)
