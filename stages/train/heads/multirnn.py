"""Multi-component networks: low, middle and high features, each with a course of its own in time.

Paper 002, section V.B. CNN-1RNN joins the three and gives them to one GRU; CNN-3RNN gives each to
its own and joins what they say. Model-level fusion runs both side by side and joins the outputs of
all four GRUs, through a fully connected layer of 128 or another GRU of 128. The high features pass
a fully connected layer, together with the landmarks where the cache has them (Fig. 2); the low and
middle ones go in as they are.

Windows: the paper predicts per frame, takes the median over a sequence of 80 frames, and averages
these medians over an utterance, which is what its data are labelled by. It splits an utterance into
sequences and speaks of no overlap, so ours lie end to end. With `estimate = "window"` every frame
of a window is given the window's median; for labels that change from frame to frame, "frame" (the
default) keeps each frame's own. The loss of equation 2 is over frames in both.

Where Fig. 2 and its text differ (a network "feeds three RNNs, whose median", or "their outputs are
concatenated and fed to the output layer"), the figure is followed: the median is over time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Prediction, Sizes, Windows
from stages.train.heads.multitask import Gru, JointHead, connected
from stages.train.settings import choice, number

LEVELS = ("low", "mid", "high")
ESTIMATES = ("frame", "window")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRnnSettings:
    """The `[model]` table of the multi-component networks.

    Attributes
    ----------
    width : units of the fully connected layer on the high features
    units, layers : of every GRU
    dropout : chance that a fully connected unit is silent in training
    gru_dropout : the same for what a GRU's first layer gives its second
    estimate : whether a frame is given its own prediction or its window's median
    """

    width: int = number(512, low=1)
    units: int = number(128, low=1)
    layers: int = number(2, low=1)
    dropout: float = number(0.5, low=0.0, high=0.95)
    gru_dropout: float = number(0.2, low=0.0, high=0.95)
    estimate: str = choice("frame", ESTIMATES)


class Component(nn.Module):
    """One network without its output layer: CNN-1RNN (joined) or CNN-3RNN (apart)."""

    def __init__(self, sizes: Sizes, settings: MultiRnnSettings, apart: bool) -> None:
        super().__init__()
        self.sizes = sizes
        above = [name for name in sizes.streams if name not in LEVELS[:2]]
        self.above = above
        self.connected = connected(
            sum(sizes.streams[name] for name in above), settings.width, settings.dropout
        )
        widths = [*(sizes.streams[name] for name in LEVELS[:2]), settings.width]
        self.grus = nn.ModuleList(
            Gru(width, settings.units, settings.layers, settings.gru_dropout)
            for width in (widths if apart else [sum(widths)])
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, L, D) to the outputs of its GRUs side by side, (B, L, GRUs * units)."""
        low, mid = (features[..., self.sizes.stream(name)] for name in LEVELS[:2])
        above = torch.cat([features[..., self.sizes.stream(name)] for name in self.above], -1)
        levels = [low, mid, self.connected(above)]
        given = levels if len(self.grus) > 1 else [torch.cat(levels, -1)]
        return torch.cat([gru(rows) for gru, rows in zip(self.grus, given, strict=True)], -1)


class MultiRnn(JointHead):
    """Base of the four: components side by side, what joins them, the output layer."""

    Settings: ClassVar[type] = MultiRnnSettings
    TASKS: ClassVar[tuple[str, ...]] = ("va",)
    STREAMS: ClassVar[tuple[str, ...]] = LEVELS
    OPTIONAL: ClassVar[tuple[str, ...]] = ("landmarks",)
    APART: ClassVar[tuple[bool, ...]]  # of each component

    def __init__(self, sizes: Sizes, settings: MultiRnnSettings) -> None:
        nn.Module.__init__(self)
        self.sizes, self.settings = sizes, settings
        self.components = nn.ModuleList(Component(sizes, settings, apart) for apart in self.APART)
        grus = sum(3 if apart else 1 for apart in self.APART)
        self.fusion, width = self.fused(grus * settings.units)
        self.output = nn.Linear(width, sizes.count)

    def fused(self, given: int) -> tuple[nn.Module, int]:
        """What stands between the GRUs and the output layer, and how wide its result is."""
        return nn.Identity(), given

    def outputs(self, features: Tensor) -> Tensor:
        """Every frame's own prediction."""
        states = torch.cat([component(features) for component in self.components], -1)
        values: Tensor = self.output(self.fusion(states))
        return values

    def predict(self, windows: Windows) -> Prediction:
        """Per frame, or the median over a window in all its frames with a face."""
        predicted = super().predict(windows)
        if self.settings.estimate == "frame":
            return predicted
        median = predicted.mean.nanquantile(0.5, dim=1, keepdim=True)
        nowhere = ~windows.mask.unsqueeze(-1)
        return Prediction(median.expand_as(predicted.mean).masked_fill(nowhere, torch.nan), None)


class Cnn1Rnn(MultiRnn):
    """All levels through one GRU (Fig. 2, left)."""

    APART: ClassVar[tuple[bool, ...]] = (False,)


class Cnn3Rnn(MultiRnn):
    """A GRU for each level (Fig. 2, right)."""

    APART: ClassVar[tuple[bool, ...]] = (True,)


class FusionFc(MultiRnn):
    """Model-level fusion of both networks through a fully connected layer."""

    APART: ClassVar[tuple[bool, ...]] = (False, True)

    def fused(self, given: int) -> tuple[nn.Module, int]:
        """A layer of as many units as a GRU has."""
        return connected(given, self.settings.units, self.settings.dropout), self.settings.units


class FusionRnn(MultiRnn):
    """Model-level fusion of both networks through another GRU, of one layer."""

    APART: ClassVar[tuple[bool, ...]] = (False, True)

    def fused(self, given: int) -> tuple[nn.Module, int]:
        """A GRU of one layer."""
        return Gru(given, self.settings.units, 1), self.settings.units
