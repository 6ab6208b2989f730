"""What is seen and what is heard: a GRU for each, then a GRU that fuses them (A/V-MT-VGG-GRU).

Paper 002, section VI.A.3. Two identical streams (fully connected layer, two-layer GRU of 128) on
the features and on the cache's "audio" stream; their states side by side, 256 numbers, go into
another two-layer GRU of 128, then into one output layer for all tasks.

The paper trains the streams apart first. With `stage = "apart"` each has an output layer of its own
and the sum of both losses is minimised, which trains two networks that share nothing; the run's
weights are where a run with `stage = "together"` starts from (`affcache train --start-from`). What
one stage has and the other has not (output layers of the streams, fusing GRU) starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.heads.multitask import FeaturesGru, Gru, RecurrentSettings, shown
from stages.train.losses.tasks import added, losses, said
from stages.train.settings import choice

STAGES = ("apart", "together")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioVisualSettings(RecurrentSettings):
    """The `[model]` table: both streams and the fusing GRU have the same sizes.

    Attributes
    ----------
    stage : "apart" trains the streams beside each other, "together" all with the fusing GRU
    """

    stage: str = choice("together", STAGES)


class AudioVisual(Head):
    """Two streams and what fuses them."""

    Settings: ClassVar[type] = AudioVisualSettings
    TASKS: ClassVar[tuple[str, ...]] = ("va", "expr", "au")
    STREAMS: ClassVar[tuple[str, ...]] = ("features", "audio")
    OUTPUTS: ClassVar[tuple[str, ...]] = ("apart.", "output.")

    def __init__(self, sizes: Sizes, settings: AudioVisualSettings) -> None:
        nn.Module.__init__(self)
        self.sizes, units = sizes, settings.units
        self.streams = nn.ModuleDict(
            {name: FeaturesGru(sizes.streams[name], settings) for name in self.STREAMS}
        )
        if settings.stage == "apart":
            self.apart = nn.ModuleDict(
                {name: nn.Linear(units, sizes.count) for name in self.STREAMS}
            )
        else:
            both = len(self.STREAMS) * units
            self.fusion = Gru(both, units, settings.layers, settings.gru_dropout)
            self.output = nn.Linear(units, sizes.count)
        self.stage = settings.stage

    def states(self, windows: Windows) -> dict[str, Tensor]:
        """What each stream has gathered, (B, L, units)."""
        features = shown(windows)
        return {
            name: stream(features[..., self.sizes.stream(name)])
            for name, stream in self.streams.items()
        }

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """The sum of the tasks' losses; apart, of both streams' (terms "features va", ...)."""
        states, labels, mask = self.states(windows), windows.labels, windows.mask
        if self.stage == "together":
            return added(losses(labels, self.fused(states), mask, self.sizes))
        return added(
            {
                f"{name} {task}": term
                for name, own in states.items()
                for task, term in losses(labels, self.apart[name](own), mask, self.sizes).items()
            }
        )

    def predict(self, windows: Windows) -> Prediction:
        """What the fused network says; apart, the mean of what both streams say."""
        states = self.states(windows)
        if self.stage == "together":
            values = said(self.fused(states), self.sizes)
        else:
            each = [said(self.apart[name](own), self.sizes) for name, own in states.items()]
            values = torch.stack(each).mean(0)
        return Prediction(values.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)

    def fused(self, states: dict[str, Tensor]) -> Tensor:
        """States of both streams to outputs (B, L, K)."""
        values: Tensor = self.output(self.fusion(torch.cat(list(states.values()), -1)))
        return values
