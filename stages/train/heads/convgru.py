"""Convolutional GRU over a window: a GRU whose states are maps and whose products are convolutions.

Paper 000, section 6, its recurrent baseline for valence and arousal: "a 4-layer Convolutional GRU
with 128-d hidden layers, and L = 30", ~789 K parameters and ~758 M operations for 30 frames.

    z = sigmoid(Wz * x + Uz * h),  r = sigmoid(Wr * x + Ur * h)          (* is a convolution)
    n = tanh(Wn * x + Un * (r . h)),  h' = (1 - z) . h + z . n

The text leaves open what is convolved, with which kernel and in which directions. Features are maps
of 128 channels: the backbone's last are 128 x 4 x 4, averaged to 128 x 2 x 2 = 512 numbers (App.
A.1). Of all combinations of kernel (1 to 5), bias (none, one, two), directions (forward, both) and
map (1 x 1 to 8 x 8), these count 789 K: 1 x 1 kernels with one bias per gate in both directions,
8 (3 * 256 * 128 + 3 * 128) = 789,504; and, in one direction, kernels of two taps and two biases,
the same number. At all places of a 4 x 4 map in 30 frames that is 378.96 M multiply-adds (biases
counted, as thop does) or 757.9 M operations: the paper's ~758 M, if that counts both.

So it is 1 x 1 kernels and two directions here, the directions' states added, averaged over the map
and read out linearly (258 parameters more). On 512 features, maps of 2 x 2, it needs 94.4 M
multiply-adds for 30 frames, and on unpooled 4 x 4 maps (`side = 4`) four times as many.

In frames that do not count the states wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affcache.errors import RecipeError
from stages.train.heads import Sizes
from stages.train.heads.regression import Regression, RegressionSettings
from stages.train.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvgruSettings(RegressionSettings):
    """The `[model]` table of a convolutional GRU.

    Attributes
    ----------
    channels : of every hidden layer's map (section 6: 128)
    layers : layers (section 6: 4)
    side : frames' features are maps of side x side, channel by channel as a flattened
        (channels, side, side) tensor lies (App. A.1: 2)
    kernel : side of the convolutions' kernels, odd; maps are padded with zeros
    directions : 1, forward in time, or 2, forward and backward
    """

    channels: int = number(128, low=1)
    layers: int = number(4, low=1)
    side: int = number(2, low=1)
    kernel: int = number(1, low=1)
    directions: int = number(2, low=1, high=2)


class ConvLayer(nn.Module):
    """One layer's recurrence in all directions at once, which share nothing.

    A convolution is a product with every place's neighbourhood: at maps of a few places and steps
    taken one by one that is faster than torch's own.
    """

    near: Tensor

    def __init__(self, given: int, channels: int, side: int, kernel: int, directions: int) -> None:
        super().__init__()
        self.channels, self.taps = channels, kernel**2
        self.register_buffer("near", neighbours(side, kernel), persistent=False)

        def kernels(before: int, gates: int) -> nn.Parameter:
            inputs = self.taps * before
            weight = torch.empty(directions, inputs, gates * channels)
            return nn.Parameter(nn.init.uniform_(weight, -(inputs**-0.5), inputs**-0.5))

        self.input = kernels(given, 3)
        self.bias = nn.Parameter(torch.zeros(directions, 1, 3 * channels))
        self.gates = kernels(channels, 2)
        self.candidate = kernels(channels, 1)

    def forward(self, maps: Tensor, counts: Tensor) -> Tensor:
        """States after every step: maps (G, L, B, P, C) to (G, L, B, P, channels).

        Parameters
        ----------
        maps : direction g's inputs in its own order of time, P places of C channels
        counts : (G, L, B) bool, the steps at which a state moves
        """
        groups, frames, batch, places = maps.shape[:4]
        given = torch.baddbmm(self.bias, self._around(maps.flatten(1, 2)), self.input)
        given = given.reshape(groups, frames, batch * places, -1)
        moves = counts.unsqueeze(-1).expand(-1, -1, -1, places).flatten(2).unsqueeze(-1)
        both = 2 * self.channels
        state = maps.new_zeros(groups, batch * places, self.channels)
        states = []
        for x, moving in zip(given.unbind(1), moves.unbind(1), strict=True):
            around = self._around(state.reshape(groups, batch, places, -1))
            update, reset = torch.baddbmm(x[..., :both], around, self.gates).sigmoid().chunk(2, -1)
            around = self._around((reset * state).reshape(groups, batch, places, -1))
            new = torch.baddbmm(x[..., both:], around, self.candidate).tanh()
            state = torch.where(moving, state + update * (new - state), state)
            states.append(state)
        return torch.stack(states, dim=1).reshape(groups, frames, batch, places, -1)

    def _around(self, maps: Tensor) -> Tensor:
        """Each place's neighbourhood, tap by tap: (G, N, P, C) to (G, N * P, taps * C)."""
        if self.taps == 1:
            return maps.flatten(1, 2)
        near = F.pad(maps, (0, 0, 0, 1))[:, :, self.near]
        return near.flatten(-2).flatten(1, 2)


class ConvGru(Regression):
    """Layers of convolutional GRUs and a linear readout of their average over the map."""

    Settings: ClassVar[type] = ConvgruSettings
    settings: ConvgruSettings

    def __init__(self, sizes: Sizes, settings: ConvgruSettings) -> None:
        nn.Module.__init__(self)
        places = settings.side**2
        if sizes.features % places:
            raise RecipeError(
                f"{sizes.features} features are no maps of {settings.side} x {settings.side}; "
                "set model.side to a number whose square divides them, such as 1"
            )
        if settings.kernel % 2 == 0:
            raise RecipeError(f"model.kernel = {settings.kernel}, expected an odd number")
        self.settings = settings
        given = [sizes.features // places] + [settings.channels] * (settings.layers - 1)
        self.layers = nn.ModuleList(
            ConvLayer(
                before, settings.channels, settings.side, settings.kernel, settings.directions
            )
            for before in given
        )
        self.readout = nn.Linear(settings.channels, sizes.count)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Both directions' last states, added and averaged over the map, read out per frame."""
        batch, frames = mask.shape
        maps = self._directed(features.reshape(batch, frames, -1, self.settings.side**2).mT)
        counts = self._directed(mask)
        for layer in self.layers:
            maps = layer(maps, counts)
        forward, *backward = maps.mean(-2).unbind(0)
        total = torch.stack([forward, *(states.flip(0) for states in backward)]).sum(0)
        said: Tensor = self.readout(total.transpose(0, 1))
        return said

    def _directed(self, rows: Tensor) -> Tensor:
        """Rows (B, L, ...) as each direction meets them: (G, L, B, ...)."""
        forward = rows.transpose(0, 1)
        return torch.stack([forward, forward.flip(0)][: self.settings.directions])


def neighbours(side: int, kernel: int) -> Tensor:
    """Where a kernel's taps lie from each place of a map, row by row: (side^2, kernel^2) int64.

    Taps outside the map point at place side^2, where a row of zeros is put.
    """
    here = torch.arange(side)
    there = here.unsqueeze(1) + torch.arange(kernel) - kernel // 2
    inside = (there >= 0) & (there < side)
    row, column = there[:, None, :, None], there[None, :, None, :]
    found = torch.where(
        inside[:, None, :, None] & inside[None, :, None, :], row * side + column, side**2
    )
    return found.reshape(side**2, kernel**2)
