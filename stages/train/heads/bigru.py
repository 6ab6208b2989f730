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
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.train.heads import Sizes
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
    """torch's own GRU and a linear readout of both directions' states."""

    Settings: ClassVar[type] = BigruSettings
    settings: BigruSettings

    def __init__(self, sizes: Sizes, settings: BigruSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        self.dropout = nn.Dropout(settings.dropout)
        self.gru = nn.GRU(
            sizes.features,
            settings.states,
            settings.layers,
            batch_first=True,
            bidirectional=True,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.readout = nn.Linear(2 * settings.states, sizes.count)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Run over the frames that count as if they were neighbours."""
        states = self.dropout(over_counted(self.gru, self.dropout(features), mask))
        said: Tensor = self.readout(states)
        return said


def over_counted(network: nn.RNNBase, rows: Tensor, mask: Tensor) -> Tensor:
    """A recurrent network's outputs (B, L, H) over the frames of rows (B, L, D) that count.

    Each sequence's counted frames are moved together, in order, and the outputs back to where they
    belong; elsewhere outputs are 0 or belong to no frame. A sequence without any counted frame is
    run over its first row, because torch knows no empty sequence.
    """
    if mask.all():
        outputs: Tensor = network(rows)[0]
        return outputs
    order = (~mask).long().argsort(dim=1, stable=True).unsqueeze(-1)
    lengths = mask.sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(
        rows.gather(1, order.expand_as(rows)), lengths, batch_first=True, enforce_sorted=False
    )
    together, _ = pad_packed_sequence(
        network(packed)[0], batch_first=True, total_length=rows.shape[1]
    )
    return torch.zeros_like(together).scatter(1, order.expand_as(together), together)
