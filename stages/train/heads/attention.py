"""Transformer encoder over a window: every frame attends to every other, pair by pair.

Paper 000, section 6: "a 2-layer MultiHead Self-Attention encoder with 32 learnable heads, each of
512 dimensions", L = 30 frames for valence and arousal and 40 for action units; ~4.2 M parameters
and ~125 M operations for 30 frames.

Read to the letter, 32 heads of 512 dimensions each would have 67 M parameters in two layers; the
figures say that 512 is the width of the model, 16 of it for each head. Beside the attention's
1.05 M a layer, 4.2 M leave room for a feed-forward network of 1,024 units: with it, 4,206,594
parameters (readout included) and 127.7 M multiply-adds, 125.8 M of them in linear layers. That is
what is here. The figures fit a second layout as well, through the tool that the paper names: thop
does not see the projections inside torch's attention, so that for torch's default of 2,048 units
it reports 4,203,520 parameters and 126.1 M (truly 6.3 M and 190.6 M); `feedforward = 2048` is that
one.

The paper names no encoding of positions. Without one a Transformer is blind to the order of frames,
which `positions = "none"` leaves it; the default adds Vaswani et al.'s sines, which have no
parameters. They count frames of the window, so a gap without a face keeps its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from affcache.errors import RecipeError
from stages.train.heads import Sizes
from stages.train.heads.regression import Regression, RegressionSettings
from stages.train.settings import choice, number

POSITIONS = ("sines", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSettings(RegressionSettings):
    """The `[model]` table of a Transformer encoder.

    Attributes
    ----------
    width : dimensions of the model, shared by its heads (section 6: 512)
    heads : attention heads in a layer (section 6: 32); has to divide the width
    layers : layers (section 6: 2)
    feedforward : units between a layer's two linear maps
    positions : "sines" or "none"
    dropout : share of units that a training step leaves out, as in torch's encoder (0.1)
    """

    width: int = number(512, low=2)
    heads: int = number(32, low=1)
    layers: int = number(2, low=1)
    feedforward: int = number(1024, low=1)
    positions: str = choice("sines", POSITIONS)
    dropout: float = number(0.1, low=0.0, high=0.95)


class SelfAttention(Regression):
    """torch's own encoder and a linear readout; features of another width are mapped to its own."""

    Settings: ClassVar[type] = AttentionSettings
    settings: AttentionSettings

    def __init__(self, sizes: Sizes, settings: AttentionSettings) -> None:
        nn.Module.__init__(self)
        width = settings.width
        if width % settings.heads:
            raise RecipeError(
                f"model.heads = {settings.heads} does not divide model.width = {width}"
            )
        self.settings = settings
        own = sizes.features == width
        self.entry = nn.Identity() if own else nn.Linear(sizes.features, width)
        layer = nn.TransformerEncoderLayer(
            width,
            settings.heads,
            settings.feedforward,
            dropout=settings.dropout,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.readout = nn.Linear(width, sizes.count)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Attend to the frames that count; a window without any attends to blanks, to no effect."""
        rows = self.entry(features)
        if self.settings.positions == "sines":
            rows = rows + sines(rows.shape[1], rows.shape[2]).to(rows)
        hidden = ~(mask | ~mask.any(1, keepdim=True))
        said: Tensor = self.readout(self.encoder(rows, src_key_padding_mask=hidden))
        return said


def sines(frames: int, width: int) -> Tensor:
    """Positions as sines and cosines of falling frequency: (frames, width) in [-1, 1].

    Column 2i is sin(t / 10000^(2i / width)) and column 2i + 1 the cosine (Vaswani et al. 2017,
    section 3.5).
    """
    even = torch.arange(0, width, 2)
    angle = torch.arange(frames).unsqueeze(1) * torch.exp(even * (-math.log(10_000) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
