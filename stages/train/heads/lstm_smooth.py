"""Paper 003's baseline: an LSTM per dimension whose output is smoothed by a Gaussian (IV.D).

The layers are those beside the filter (IV.C) with one output each; smoothing is a step after the
fact, as in the works that the paper cites for it, so it is no part of the training. Its width is
not in the paper. It takes frames of both sides and passes over those without a face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.kalman.alignment import smoothed
from stages.train.kalman.layer import Observer
from stages.train.losses.regression import OVER, ccc_loss
from stages.train.settings import choice, number


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothSettings:
    """The `[model]` table of the baseline.

    Attributes
    ----------
    first, second, memory : units of the two layers and of the LSTM (paper 003, IV.C)
    concordance : whether CCC is of the whole batch as one series or averaged over its windows
    smoothing_seconds : standard deviation of the Gaussian; 0 leaves the LSTM's output as it is
    """

    first: int = number(29, low=1)
    second: int = number(16, low=1)
    memory: int = number(16, low=1)
    concordance: str = choice("pooled", OVER)
    smoothing_seconds: float = number(0.5, low=0.0)


class SmoothedLstm(Head):
    """A network per dimension, trained for its CCC."""

    Settings: ClassVar[type] = SmoothSettings

    def __init__(self, sizes: Sizes, settings: SmoothSettings) -> None:
        nn.Module.__init__(self)
        self.settings, self.sizes = settings, sizes
        widths = settings.first, settings.second, settings.memory
        self.observers = nn.ModuleList(
            Observer(sizes.features, widths, 1) for _ in range(sizes.count)
        )

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """1 - CCC of what is not smoothed yet."""
        said = self.course(windows)
        return {"loss": ccc_loss(windows.labels, said, windows.mask, self.settings.concordance)}

    def predict(self, windows: Windows) -> Prediction:
        """The smoothed course; NaN without a face."""
        said = self.course(windows)
        frames = self.settings.smoothing_seconds * self.sizes.fps
        said = smoothed(said, windows.mask, frames) if frames else said
        return Prediction(said.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)

    def course(self, windows: Windows) -> Tensor:
        """The LSTMs' output, (B, L, K)."""
        features = windows.features.masked_fill(~windows.mask.unsqueeze(-1), 0.0)
        return torch.cat([network(features)[0] for network in self.observers], -1)
