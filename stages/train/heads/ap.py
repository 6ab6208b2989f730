"""Affective Processes: a sequence is one draw from a distribution of functions, picked by context.

Paper 000, sections 3.2 and 4.2. Frames of the context are encoded with their (pseudo-)labels to
r_c, averaged to r_C, and turned into a Gaussian over a global latent z; a decoder reads every frame
beside z. No order, no recurrence: only "which person, which mood, which camera" is shared.

The printed layout (Fig. 2), which counts 330,884 parameters and 19.65 million multiply-adds for 70
frames of 512 features, is computed here without its concatenations: a linear layer over [a; b] is
the sum of two, the label up-projection folds into the encoder's first layer, and z enters the
decoder once a sequence. Parameters and results are those of the printed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.train.gaussians import Gaussian, divergence, negative_log_likelihood, sample
from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.settings import choice, number

LOSSES = ("nll", "nll+kl", "nll+reg", "nll+reg+kl")
READINGS = ("sum", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApSettings:
    """The `[model]` table of an Affective Process.

    Attributes
    ----------
    width : units of every hidden layer, of r and of z (paper 000, 3.1: d = 128)
    loss : which terms of eq. 1 are added to the negative log-likelihood
    likelihood : whether a sequence's log-likelihood is the sum or the mean over its frames. Only
        the sum is the evidence bound: beside a mean, the KL term outweighs the data by the number
        of frames and the latent collapses.
    regulariser : how the sums in section 3.2.4 are read, see `regulariser`
    kl_weight, reg_weight : lambda_kl and lambda_reg of eq. 1
    smallest_context : fewest context frames in training (4.2: 3)
    truth_probability : chance that a training sequence's context shows its annotations rather
        than its pseudo-labels (4.2: 0.5)
    context : how many frames of lowest uncertainty are the context in testing (section 5: 40)
    std_floor : least standard deviation of a prediction; without one the likelihood is won by
        overconfidence on the training set
    latent_floor : least standard deviation of z, whose greatest is 1
    """

    width: int = number(128, low=1)
    loss: str = choice("nll", LOSSES)
    likelihood: str = choice("mean", READINGS)
    regulariser: str = choice("mean", READINGS)
    kl_weight: float = number(1.0, low=0.0)
    reg_weight: float = number(1.0, low=0.0)
    smallest_context: int = number(3, low=1)
    truth_probability: float = number(0.5, low=0.0, high=1.0)
    context: int = number(40, low=1)
    std_floor: float = number(0.1, low=0.0, high=1.0)
    latent_floor: float = number(0.01, low=0.0, high=1.0)


class Layers(nn.Module):
    """A three-layer network whose first layer is computed outside, part by part of its input."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(given, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)

    def forward(self, first: Tensor) -> Tensor:
        """From the first layer's result (before its ReLU) to the third's (before any)."""
        hidden: Tensor = self.third(F.relu(self.second(F.relu(first))))
        return hidden


class AffectiveProcess(Head):
    """The network of Fig. 2 and its training and testing procedures."""

    Settings: ClassVar[type] = ApSettings

    def __init__(self, sizes: Sizes, settings: ApSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        wide, width, targets = sizes.features, settings.width, sizes.count
        self.upsample = nn.Linear(targets, wide)
        self.encoder = Layers(2 * wide, width)
        self.common = nn.Linear(width, width)
        self.latent_mean = nn.Linear(width, width)
        self.latent_std = nn.Linear(width, width)
        self.decoder = Layers(wide + width, width)
        self.mean = nn.Linear(width, targets)
        self.std = nn.Linear(width, targets)

    def encode(self, features: Tensor, labels: Tensor) -> Tensor:
        """r_c of every frame: features (B, L, D) and labels (B, L, k) without NaN to (B, L, d)."""
        wide, weight = features.shape[-1], self.encoder.first.weight
        from_features, from_labels = weight[:, :wide], weight[:, wide:]
        weight = from_labels @ self.upsample.weight
        bias = from_labels @ self.upsample.bias + self.encoder.first.bias
        first = F.linear(features, from_features) + F.linear(labels, weight, bias)
        r: Tensor = self.encoder(first)
        return r

    def latent(self, r: Tensor) -> Gaussian:
        """q(z | r): r (..., d) to a Gaussian (..., d); a single frame's r is as good as a mean."""
        shared = F.relu(self.common(r))
        floor = self.settings.latent_floor
        return Gaussian(
            self.latent_mean(shared), floor + (1 - floor) * self.latent_std(shared).sigmoid()
        )

    def decode(self, features: Tensor, z: Tensor) -> Gaussian:
        """p(y_t | x_t, z): features (B, L, D), z (B, d) to a Gaussian (B, L, k)."""
        first = self.decoder.first
        wide = features.shape[-1]
        from_features, from_z = first.weight[:, :wide], first.weight[:, wide:]
        shift = F.linear(z, from_z, first.bias).unsqueeze(-2)
        hidden = F.relu(self.decoder(F.linear(features, from_features) + shift))
        return Gaussian(self.mean(hidden), self.settings.std_floor + F.softplus(self.std(hidden)))

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 1 on one batch, with a fresh context, coin and latent for every sequence."""
        features, mask, chosen = windows.features, windows.mask, self.settings
        truth = blank(windows.labels, mask)
        context = random_context(mask, chosen.smallest_context, generator)
        shown = show_truth(truth, blank(windows.pseudo, mask), chosen.truth_probability, generator)
        posterior = self.latent(masked_mean(self.encode(features, shown), context))
        output = self.decode(features, sample(posterior, generator))
        nll = over_frames(negative_log_likelihood(truth, output), mask, chosen.likelihood).mean()
        terms = {"nll": nll}
        if "reg" in chosen.loss:
            terms["reg"] = chosen.reg_weight * regulariser(output, mask, chosen.regulariser).mean()
        if "kl" in chosen.loss:
            informed = self.latent(masked_mean(self.encode(features, truth), mask))
            terms["kl"] = chosen.kl_weight * divergence(informed, posterior).sum(-1).mean()
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def predict(self, windows: Windows) -> Prediction:
        """z = mu_C of the least uncertain frames, with their pseudo-labels; NaN without a face."""
        r = self.encode(windows.features, blank(windows.pseudo, windows.mask))
        context = self.select(r, windows.mask)
        output = self.decode(windows.features, self.latent(masked_mean(r, context)).mean)
        nowhere = ~windows.mask.unsqueeze(-1)
        return Prediction(
            output.mean.masked_fill(nowhere, torch.nan), output.std.masked_fill(nowhere, torch.nan)
        )

    def select(self, r: Tensor, mask: Tensor) -> Tensor:
        """Test-time context (3.2.2): the frames whose own latent is the least uncertain, (B, L)."""
        uncertainty = self.latent(r).std.norm(dim=-1)
        count = torch.full((len(mask),), self.settings.context, device=mask.device)
        return lowest(uncertainty, mask, count)


def blank(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, L, k) with zeros wherever mask (B, L) is false, so that no NaN can spread."""
    return values.masked_fill(~mask.unsqueeze(-1), 0.0)


def masked_mean(rows: Tensor, mask: Tensor) -> Tensor:
    """Mean of rows (B, L, d) over the frames of mask (B, L): (B, d); 0 where there are none."""
    weight = mask.unsqueeze(-1).to(rows.dtype)
    return (rows * weight).sum(-2) / weight.sum(-2).clamp(min=1)


def over_frames(terms: Tensor, mask: Tensor, reading: str) -> Tensor:
    """Terms (B, L, k) summed over targets, and summed or averaged over masked frames: (B,)."""
    total = blank(terms, mask).sum((-2, -1))
    return total if reading == "sum" else total / mask.sum(-1).clamp(min=1)


def regulariser(output: Gaussian, mask: Tensor, reading: str) -> Tensor:
    """D(N(sum_t mean_t, sum_t std_t) || N(0, 1)) of section 3.2.4, summed over targets: (B,).

    As printed ("sum"), the standard deviations of L frames have to add up to 1, so each is pressed
    to 1 / L, where it contradicts the likelihood: predictions turn flat and overconfident. Read as
    the average output of the sequence ("mean", the default here), the term is finite and says what
    the text says, that outputs lie around the origin with a spread of at most the labels' range.
    """
    frames = 1 if reading == "sum" else mask.sum(-1, keepdim=True).clamp(min=1)
    pooled = Gaussian(*(blank(rows, mask).sum(-2) / frames for rows in output))
    standard = Gaussian(torch.zeros_like(pooled.mean), torch.ones_like(pooled.std))
    return divergence(pooled, standard).sum(-1)


def lowest(score: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """The `count` (B,) frames of lowest score (B, L) among mask (B, L), all if there are fewer.

    Ties go to the earlier frame.
    """
    order = score.masked_fill(~mask, torch.inf).argsort(dim=-1, stable=True)
    rank = torch.empty_like(order).scatter_(
        -1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order)
    )
    return mask & (rank < count.unsqueeze(-1))


def random_context(mask: Tensor, smallest: int, generator: torch.Generator) -> Tensor:
    """Context of a training batch: uniform in size from `smallest` to all, uniform in place.

    The size is drawn for every sequence, between `smallest` and the number of frames that count.
    """
    counted = mask.sum(-1)
    draw = torch.rand(mask.shape[0], mask.shape[1] + 1, generator=generator, device=mask.device)
    least = counted.clamp(max=smallest)
    size = least + (draw[:, 0] * (counted - least + 1)).long()
    return lowest(draw[:, 1:], mask, size)


def show_truth(truth: Tensor, pseudo: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Context labels (B, L, k): a sequence's annotations with `chance`, else its pseudo-labels.

    Section 4.2 leaves open what the coin is tossed for. It is the sequence here, because in testing
    all of a context's labels are pseudo-labels: half of the training sequences then look like that.
    """
    coin = torch.rand(truth.shape[0], 1, 1, generator=generator, device=truth.device) < chance
    return torch.where(coin, truth, pseudo)
