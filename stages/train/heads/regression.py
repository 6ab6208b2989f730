"""What the baselines of paper 000 (section 6) share: one number per target and frame, and its loss.

A network reads the windows' features and says a number; how it is trained the paper does not say
for its recurrent and attention baselines. Appendix A.2 does say it for the backbones that they
start from: 1 - CCC + 0.5 MSE for valence and arousal (eq. 2), squared error alone for action unit
intensity ("to train the corresponding models in this work"). The recipes here do the same.

Convention: networks get features (B, L, D) that are zero, and a mask (B, L) that is false, where a
frame does not count; such a frame must not influence what is said about any other.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from stages.train.heads import Head, Prediction, Windows
from stages.train.losses.regression import OVER, ccc_loss, mse
from stages.train.settings import choice, number


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionSettings:
    """The part of a baseline's `[model]` table that says what is minimised.

    Attributes
    ----------
    ccc_weight : factor on 1 - CCC (paper 000, App. A.2: 1)
    mse_weight : factor on the squared error (App. A.2: 0.5 for valence and arousal)
    ccc_over : "pooled" compares all counted frames of a batch as one series, as evaluation does;
        "sequence" every window by itself
    """

    ccc_weight: float = number(1.0, low=0.0)
    mse_weight: float = number(0.5, low=0.0)
    ccc_over: str = choice("pooled", OVER)


class Regression(Head):
    """A head that is a network from features to targets and nothing else."""

    TASKS: ClassVar[tuple[str, ...]] = ("va", "au_intensity")
    settings: RegressionSettings

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Targets (B, L, K) from blanked features (B, L, D) and the frames that count (B, L)."""

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted concordance loss and squared error over the frames that count."""
        chosen, said = self.settings, self(blanked(windows), windows.mask)
        terms = {
            "ccc_loss": ccc_loss(windows.labels, said, windows.mask, chosen.ccc_over),
            "mse": mse(windows.labels, said, windows.mask),
        }
        total = chosen.ccc_weight * terms["ccc_loss"] + chosen.mse_weight * terms["mse"]
        return {"loss": total, **terms}

    def predict(self, windows: Windows) -> Prediction:
        """What the network says; NaN without a face."""
        said = self(blanked(windows), windows.mask)
        return Prediction(said.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)


def blanked(windows: Windows) -> Tensor:
    """Features with zeros in frames that do not count, whatever lay there."""
    return windows.features.masked_fill(~windows.mask.unsqueeze(-1), 0.0)
