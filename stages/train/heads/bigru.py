"""Bidirectional GRU over a window: every frame in the light of those before and after it.

Paper 000, section 6, its baseline for action units: "a 2-layer Bidirectional GRU with 256-d hidden
states, with L = 60 frames", said to have ~1.2 M parameters and to need ~71 M operations for 60.

The text and the figures disagree. Over 512 features, two layers of 256 states in each direction
have 2,365,440 parameters and 142 M multiply-adds; two of 128 in each direction 789,504 and 47 M.
One layer of 256 in each direction has 1,182,720 and 71.0 M: both figures of the paper. That is the
default here, its two directions being the "2 layers"; `layers = 2` is the text to the letter.

Frames that do not count are taken out before the recurrence, so a state waits over a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Sizes
from stages.train.heads.compact import over_counted
from stages.train.heads.regression import Regression, RegressionSettings
from stages.train.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class BigruSettings(RegressionSettings):
    """The `[model]` table of a bidirectional GRU.

    Attributes
    ----------
    states : hidden states of a layer in each of the two directions (section 6: 256)
    layers : layers, each of two directions; see the module's words on 1 and 2
    dropout : share of features and of states that a training step leaves out
    """

    states: int = number(256, low=1)
    layers: int = number(1, low=1)
    dropout: float = number(0.0, low=0.0, high=0.95)


class BidirectionalGru(Regression):
    """torch's own GRU for each layer and direction, and a linear readout of the last layer."""

    Settings: ClassVar[type] = BigruSettings
    settings: BigruSettings

    def __init__(self, sizes: Sizes, settings: BigruSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        given = [sizes.features] + [2 * settings.states] * (settings.layers - 1)
        self.dropout = nn.Dropout(settings.dropout)
        self.forwards, self.backwards = (
            nn.ModuleList(nn.GRU(width, settings.states, batch_first=True) for width in given)
            for _ in range(2)
        )
        self.readout = nn.Linear(2 * settings.states, sizes.count)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Run over the frames that count as if they were neighbours."""
        states = features
        for forward, backward in zip(self.forwards, self.backwards, strict=True):
            states = self.dropout(states)
            past = _states(forward, states, mask)
            future = _states(backward, states.flip(1), mask.flip(1)).flip(1)
            states = torch.cat([past, future], dim=-1)
        said: Tensor = self.readout(self.dropout(states))
        return said


def _states(gru: nn.Module, rows: Tensor, mask: Tensor) -> Tensor:
    return over_counted(lambda given: gru(given)[0], rows, mask)
