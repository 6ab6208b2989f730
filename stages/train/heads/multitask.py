"""Several tasks from one feature space, with time (MT-VGG-GRU) and without (MT-VGG).

Paper 002, section VI.A. Fully connected layers on a frame's features, for `mt-gru` a two-layer GRU
of 128 on the first of them, and one output layer for whatever tasks the recipe names; the sum of
their losses (equations 4 to 6) is minimised. Every task reads the same features, so what one learns
serves the others.

The paper's fully connected layers have 4,096 units because they stand on VGG-FACE's last pooling
layer (25,088 numbers). On a cache's 512 features that would be 19 M parameters for `mt`; `width` is
as wide as the features by default, which makes 0.5 M.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.losses.tasks import added, losses, said
from stages.train.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTaskSettings:
    """The `[model]` table of `mt`.

    Attributes
    ----------
    width : units of the fully connected layers
    dropout : chance that one of their units is silent in training
    """

    width: int = number(512, low=1)
    dropout: float = number(0.5, low=0.0, high=0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSettings:
    """The `[model]` table of heads with a fully connected layer below a GRU.

    Attributes
    ----------
    width : units of the fully connected layer
    units, layers : of the GRU
    dropout : chance that a unit of the fully connected layer is silent in training
    gru_dropout : the same for what the GRU's first layer gives its second
    """

    width: int = number(512, low=1)
    units: int = number(128, low=1)
    layers: int = number(2, low=1)
    dropout: float = number(0.5, low=0.0, high=0.95)
    gru_dropout: float = number(0.0, low=0.0, high=0.95)


class Gru(nn.Module):
    """A forward GRU: rows (B, L, D) to its last layer's states (B, L, units)."""

    def __init__(self, given: int, units: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.cells = nn.GRU(given, units, layers, batch_first=True, dropout=between)

    def forward(self, rows: Tensor) -> Tensor:
        """A frame's state knows the frames before it, none after."""
        states: Tensor = self.cells(rows)[0]
        return states


class FeaturesGru(nn.Module):
    """A fully connected layer with ReLU and dropout, then a GRU: a stream without its output."""

    def __init__(self, given: int, settings: RecurrentSettings) -> None:
        super().__init__()
        self.connected = connected(given, settings.width, settings.dropout)
        self.gru = Gru(settings.width, settings.units, settings.layers, settings.gru_dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, L, D) to (B, L, units)."""
        states: Tensor = self.gru(self.connected(features))
        return states


class JointHead(Head):
    """What heads share that map features to one output layer: losses, and the way to predict.

    A subclass makes itself in `__init__` (setting `sizes`) and says in `outputs` what its output
    layer says, before softmax and sigmoid.
    """

    TASKS: ClassVar[tuple[str, ...]] = ("va", "expr", "au")
    OUTPUTS: ClassVar[tuple[str, ...]] = ("output.",)
    sizes: Sizes

    @abstractmethod
    def outputs(self, features: Tensor) -> Tensor:
        """Features (B, L, D), zero in frames that do not count, to outputs (B, L, K)."""

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """The sum of the tasks' losses."""
        outputs = self.outputs(shown(windows))
        return added(losses(windows.labels, outputs, windows.mask, self.sizes))

    def predict(self, windows: Windows) -> Prediction:
        """Valence and arousal as they come, probabilities of expressions and action units."""
        values = said(self.outputs(shown(windows)), self.sizes)
        return Prediction(values.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)


class MultiTask(JointHead):
    """MT-VGG on cached features: two fully connected layers and an output layer, frame by frame."""

    Settings: ClassVar[type] = MultiTaskSettings

    def __init__(self, sizes: Sizes, settings: MultiTaskSettings) -> None:
        nn.Module.__init__(self)
        self.sizes = sizes
        self.body = nn.Sequential(
            connected(sizes.features, settings.width, settings.dropout),
            connected(settings.width, settings.width, settings.dropout),
        )
        self.output = nn.Linear(settings.width, sizes.count)

    def outputs(self, features: Tensor) -> Tensor:
        """Every frame by itself."""
        values: Tensor = self.output(self.body(features))
        return values


class MultiTaskGru(JointHead):
    """MT-VGG-GRU on cached features: fully connected, GRU, output."""

    Settings: ClassVar[type] = RecurrentSettings

    def __init__(self, sizes: Sizes, settings: RecurrentSettings) -> None:
        nn.Module.__init__(self)
        self.sizes = sizes
        self.stream = FeaturesGru(sizes.features, settings)
        self.output = nn.Linear(settings.units, sizes.count)

    def outputs(self, features: Tensor) -> Tensor:
        """Every frame with what came before it in the window."""
        values: Tensor = self.output(self.stream(features))
        return values


class AudioMultiTaskGru(MultiTaskGru):
    """MT-VGG-GRU on what is heard alone (Table IV, "audio modality")."""

    STREAMS: ClassVar[tuple[str, ...]] = ("audio",)


def connected(given: int, width: int, dropout: float) -> nn.Sequential:
    """A fully connected layer with ReLU, and dropout behind it."""
    return nn.Sequential(nn.Linear(given, width), nn.ReLU(), nn.Dropout(dropout))


def shown(windows: Windows) -> Tensor:
    """Features (B, L, D) with zeros in frames that do not count, as a cache has them."""
    return windows.features.masked_fill(~windows.mask.unsqueeze(-1), 0.0)
