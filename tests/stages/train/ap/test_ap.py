"""The Affective Process against its printed form, brute force and the paper's complexity."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.utils.flop_counter import FlopCounterMode

from stages.train.ap.settings import LOSSES, PATHS, ApSettings
from stages.train.ap.terms import masked_mean
from stages.train.heads.ap import AffectiveProcess
from tests.stages.train.ap.ap_windows import a_head, drawn, sizes, some_windows


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


def test_complexity_is_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    head = AffectiveProcess(sizes(512), ApSettings())
    printed = Printed.of(head, 512, 2)
    parameters = sum(p.numel() for p in head.parameters())
    inputs = torch.randn(70, 512), torch.randn(70, 2), torch.ones(70, dtype=torch.bool)
    as_printed = multiply_adds(printed, *inputs)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        r = head.encode(inputs[0][None], inputs[1][None])
        context = inputs[2][None]
        first = head.read(inputs[0][None], r, context)
        head.decode(first, head.latent(masked_mean(r, context)).mean)
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
        torch.testing.assert_close(predicted.details["decoder_std"][i][mask], std)
        assert torch.equal(predicted.details["context"][i], context)


def test_the_order_of_the_context_does_not_matter() -> None:
    head, windows = a_head(), some_windows()
    order = torch.randperm(20, generator=drawn(3))
    shuffled = type(windows)(*(tensor[:, order] for tensor in windows))
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


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reading", ["sum", "mean"])
@pytest.mark.parametrize("path", PATHS)
def test_gradients_of_every_loss_are_those_of_finite_differences(
    loss: str, reading: str, path: str
) -> None:
    if path == "deterministic" and "kl" in loss:
        return
    head = a_head(loss=loss, likelihood=reading, path=path, context=0)
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
