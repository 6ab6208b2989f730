"""One frame at a time: the network without context that every temporal head has to beat.

Three layers of the width that paper 000 uses elsewhere (Fig. 2), from a frame's features to its
targets. What a temporal head gains over this network it gains from other frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from stages.train.heads import Sizes
from stages.train.heads.regression import Regression, RegressionSettings
from stages.train.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings(RegressionSettings):
    """The `[model]` table of the per-frame network.

    Attributes
    ----------
    width : units of both hidden layers
    dropout : share of hidden units that a training step leaves out
    """

    width: int = number(128, low=1)
    dropout: float = number(0.0, low=0.0, high=0.95)


class FrameNetwork(Regression):
    """Features to targets, frame by frame."""

    Settings: ClassVar[type] = MlpSettings
    settings: MlpSettings

    def __init__(self, sizes: Sizes, settings: MlpSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        self.layers = nn.Sequential(
            nn.Linear(sizes.features, settings.width),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.width),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, sizes.count),
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Every frame by itself, so the mask does not matter."""
        said: Tensor = self.layers(features)
        return said
