"""Affective Processes: a sequence is one draw from a distribution of functions, picked by context.

Paper 000, sections 3.2, 4.2 and 5. Frames of the context are encoded with their (pseudo-)labels to
r_c, averaged to r_C, and turned into a Gaussian over a global latent z; a decoder reads every frame
beside z. No order, no recurrence: only "which person, which mood, which camera" is shared.

The printed layout (Fig. 2), which counts 330,884 parameters and 19.65 million multiply-adds for 70
frames of 512 features, is computed here without its concatenations: a linear layer over [a; b] is
the sum of two, the label up-projection folds into the encoder's first layer, and z enters the
decoder once a sequence. Parameters and results are those of the printed form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.train.ap.attention import ContextAttention
from stages.train.ap.context import by_rule, parse, random_context, show_truth
from stages.train.ap.settings import ApSettings
from stages.train.ap.terms import masked_mean, over_frames, regulariser
from stages.train.gaussians import Gaussian, divergence, negative_log_likelihood, sample
from stages.train.heads import Head, Prediction, Sizes, Windows


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

    def slopes(self, first: Tensor, after: Tensor) -> Tensor:
        """Derivatives of after @ relu(forward(first)) by `first`: after (K, d) to (..., K, d)."""
        second = self.second(F.relu(first))
        slope = after * (self.third(F.relu(second)) > 0).unsqueeze(-2)
        slope = (slope @ self.third.weight) * (second > 0).unsqueeze(-2)
        whole: Tensor = (slope @ self.second.weight) * (first > 0).unsqueeze(-2)
        return whole


class AffectiveProcess(Head):
    """The network of Fig. 2, its variants of Table 1, and how they are trained and tested."""

    Settings: ClassVar[type] = ApSettings
    TASKS: ClassVar[tuple[str, ...]] = ("va", "au_intensity")

    @classmethod
    def needs_pseudo(cls, streams: Collection[str], settings: ApSettings) -> bool:
        """The context's labels are pseudo-labels in testing."""
        return settings.pseudo_labels == "shown"

    def __init__(self, sizes: Sizes, settings: ApSettings) -> None:
        nn.Module.__init__(self)
        settings.check()
        self.settings = settings
        wide, width, targets = sizes.features, settings.width, sizes.count
        self.parts = [wide, width, *[width] * settings.has_summary]
        self.upsample = nn.Linear(targets, wide)
        self.encoder = Layers(2 * wide, width)
        self.common = nn.Linear(width, width)
        self.latent_mean = nn.Linear(width, width)
        self.latent_std = nn.Linear(width, width) if settings.has_latent else None
        self.decoder = Layers(sum(self.parts), width)
        self.mean = nn.Linear(width, targets)
        self.std = nn.Linear(width, targets)
        attends = settings.path == "both+attention"
        self.attention = ContextAttention(wide, width, settings.heads) if attends else None

    def encode(self, features: Tensor, labels: Tensor) -> Tensor:
        """r_c of every frame: features (B, L, D) and labels (B, L, K) without NaN to (B, L, d)."""
        wide, weight = features.shape[-1], self.encoder.first.weight
        from_features, from_labels = weight[:, :wide], weight[:, wide:]
        weight = from_labels @ self.upsample.weight
        bias = from_labels @ self.upsample.bias + self.encoder.first.bias
        first = F.linear(features, from_features) + F.linear(labels, weight, bias)
        r: Tensor = self.encoder(first)
        return r

    def latent(self, r: Tensor) -> Gaussian:
        """q(z | r): r (..., d) to a Gaussian (..., d); a single frame's r is as good as a mean.

        A deterministic process has no deviation: it is 0.
        """
        shared = F.relu(self.common(r))
        mean = self.latent_mean(shared)
        if self.latent_std is None:
            return Gaussian(mean, torch.zeros_like(mean))
        floor = self.settings.latent_floor
        return Gaussian(mean, floor + (1 - floor) * self.latent_std(shared).sigmoid())

    def read(self, features: Tensor, r: Tensor, context: Tensor) -> Tensor:
        """What the decoder's first layer makes of all but z: (B, L, d).

        That is the features and, beside a latent, the deterministic summary of the context.
        """
        first = F.linear(features, self.decoder.first.weight[:, : self.parts[0]])
        return first + self.summary(features, r, context) if self.settings.has_summary else first

    def summary(self, features: Tensor, r: Tensor, context: Tensor) -> Tensor:
        """Share of the first layer (B, 1 or L, d) of r_C, or of what attention has in its place."""
        from_summary = self.decoder.first.weight[:, sum(self.parts[:2]) :]
        if self.attention is None:
            return F.linear(masked_mean(r, context), from_summary).unsqueeze(-2)
        return F.linear(self.attention(features, r, context), from_summary)

    def join(self, first: Tensor, z: Tensor) -> Tensor:
        """The decoder's whole first layer: `first` as read (B, L, d), z (..., B, d)."""
        wide, width = self.parts[:2]
        from_z = self.decoder.first.weight[:, wide : wide + width]
        return first + F.linear(z, from_z, self.decoder.first.bias).unsqueeze(-2)

    def decode(self, first: Tensor, z: Tensor) -> Gaussian:
        """p(y_t | x_t, z): `first` as read (B, L, d), z (..., B, d) to Gaussians (..., B, L, K)."""
        hidden = F.relu(self.decoder(self.join(first, z)))
        return Gaussian(self.mean(hidden), self.settings.std_floor + F.softplus(self.std(hidden)))

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 1 on one batch, with a fresh context, coin and latent for every sequence."""
        features, mask, chosen = windows.features, windows.mask, self.settings
        known = mask.unsqueeze(-1) & windows.labels.isfinite()
        truth, pseudo = windows.labels.masked_fill(~known, 0.0), self.pseudo(windows)
        context = random_context(mask, chosen.smallest_context, generator)
        shown = show_truth(truth, known, pseudo, chosen.truth_probability, generator)
        r = self.encode(features, shown)
        posterior = self.latent(masked_mean(r, context))
        z = sample(posterior, generator) if chosen.has_latent else posterior.mean
        output = self.decode(self.read(features, r, context), z)
        nll = over_frames(negative_log_likelihood(truth, output), known, chosen.likelihood).mean()
        terms = {"nll": nll}
        if "reg" in chosen.loss:
            terms["reg"] = chosen.reg_weight * regulariser(output, known, chosen.regulariser).mean()
        if "kl" in chosen.loss:
            informed = self.latent(masked_mean(self.encode(features, truth), mask))
            terms["kl"] = chosen.kl_weight * divergence(informed, posterior).sum(-1).mean()
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def pseudo(self, windows: Windows) -> Tensor:
        """Labels (B, L, K) of a context without annotations; zeros where they are withheld."""
        if self.settings.pseudo_labels == "withheld":
            return torch.zeros_like(windows.pseudo)
        return windows.pseudo.masked_fill(~windows.mask.unsqueeze(-1), 0.0)

    def predict(self, windows: Windows) -> Prediction:
        """z = mu_C of the chosen frames, with their pseudo-labels; NaN without a face.

        The variance is the decoder's own plus that which z's deviation causes in the mean, to first
        order in that deviation: sum_j (d mean / d z_j)^2 sigma_j^2. On trained processes its median
        ratio to the deviation of 400 drawn functions was .99 to 1.02.
        """
        first, posterior, context = self.summarise(windows)
        output = self.decode(first, posterior.mean)
        details = {"decoder_std": output.std}
        std = output.std
        if self.settings.has_latent:
            details["latent_std"] = self.latent_spread(first, posterior)
            std = torch.hypot(std, details["latent_std"])
        nowhere = ~windows.mask.unsqueeze(-1)
        said = {name: rows.masked_fill(nowhere, torch.nan) for name, rows in details.items()}
        return Prediction(
            output.mean.masked_fill(nowhere, torch.nan),
            std.masked_fill(nowhere, torch.nan),
            {**said, "context": context},
        )

    def sample(self, windows: Windows, count: int, generator: torch.Generator) -> Tensor:
        """Functions f(., z) for `count` draws of z a window (Fig. 4): (count, B, L, K)."""
        if not self.settings.has_latent:
            return super().sample(windows, count, generator)
        first, posterior, _ = self.summarise(windows)
        repeated = Gaussian(*(part.expand(count, *part.shape) for part in posterior))
        drawn = self.decode(first, sample(repeated, generator)).mean
        return drawn.masked_fill(~windows.mask.unsqueeze(-1), torch.nan)

    def summarise(self, windows: Windows) -> tuple[Tensor, Gaussian, Tensor]:
        """In testing: what the decoder reads (B, L, d), q(z | C), and the context C (B, L)."""
        r = self.encode(windows.features, self.pseudo(windows))
        context = self.select(r, windows.mask)
        posterior = self.latent(masked_mean(r, context))
        return self.read(windows.features, r, context), posterior, context

    def means(self, windows: Windows, contexts: Iterable[str]) -> Iterator[Tensor]:
        """Predicted means (B, L, K) for one choice of context after another, encoding once."""
        features, mask = windows.features, windows.mask
        r = self.encode(features, self.pseudo(windows))
        score = self.uncertainty(r)
        seen = F.linear(features, self.decoder.first.weight[:, : self.parts[0]])
        for chosen in contexts:
            context = by_rule(score, mask, *parse(chosen))
            z = self.latent(masked_mean(r, context)).mean
            both = seen + self.summary(features, r, context) if self.settings.has_summary else seen
            yield self.decode(both, z).mean.masked_fill(~mask.unsqueeze(-1), torch.nan)

    def select(self, r: Tensor, mask: Tensor) -> Tensor:
        """Test-time context (3.2.2), (B, L), by how uncertain each frame's own latent is."""
        chosen = self.settings
        return by_rule(self.uncertainty(r), mask, chosen.selection, chosen.context)

    def uncertainty(self, r: Tensor) -> Tensor:
        """||sigma_C(r_c)|| of every frame by itself: r (B, L, d) to (B, L)."""
        norm: Tensor = self.latent(r).std.norm(dim=-1)
        return norm

    def latent_spread(self, first: Tensor, posterior: Gaussian) -> Tensor:
        """Standard deviation (B, L, K) of the decoded mean over q(z | C), to first order."""
        wide, width = self.parts[:2]
        slopes = self.decoder.slopes(self.join(first, posterior.mean), self.mean.weight)
        slopes = slopes @ self.decoder.first.weight[:, wide : wide + width]
        spread: Tensor = (slopes * posterior.std[:, None, None]).norm(dim=-1)
        return spread

    def use_context(self, chosen: str) -> None:
        """Choose contexts in another way from now on: "lowest:40", "random:10", "all"."""
        rule, count = parse(chosen)
        settings = dataclasses.replace(self.settings, selection=rule, context=count)
        settings.check()
        self.settings = settings
