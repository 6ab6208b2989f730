"""What paper 003 learns around its filter: the network that observes, and the state space itself.

Section IV.C: a 29-unit and a 16-unit layer with ReLU, an LSTM of 16 units, a layer with tanh for
the observations. F and H are free matrices; Q and R diagonals through softplus (III.A).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.train.kalman.model import LinearModel

TRANSITIONS = ("acceleration", "identity")
Memory = tuple[Tensor, Tensor]  # h and c of the LSTM, (1, B, units) each


class Observer(nn.Module):
    """Features to observations (eq. 6 to 8).

    Parameters
    ----------
    features : width of what comes in
    widths : units of the two layers and of the LSTM
    observed : width of what goes out
    """

    def __init__(self, features: int, widths: tuple[int, int, int], observed: int) -> None:
        super().__init__()
        first, second, memory = widths
        self.first = nn.Linear(features, first)
        self.second = nn.Linear(first, second)
        self.lstm = nn.LSTM(second, memory, batch_first=True)
        self.out = nn.Linear(memory, observed)

    def forward(self, features: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Features (B, L, D) to observations (B, L, m) in (-1, 1) and the LSTM's state after them.

        `memory` is the LSTM's state before them, zero if None.
        """
        hidden = F.relu(self.second(F.relu(self.first(features))))
        hidden, memory = self.lstm(hidden, memory)
        return self.out(hidden).tanh(), memory


class StateSpace(nn.Module):
    """F, H, Q and R of one filter or of several that are alike.

    Parameters
    ----------
    filters : G, how many
    dimensions : d, affective dimensions in each filter's state [z, z', z''] of 3 d numbers
    transition : what F starts as: constant acceleration, or the identity
    step : frames in the unit of time of the derivatives, for the former
    process, noise : what q and r start as
    """

    def __init__(
        self,
        filters: int,
        dimensions: int,
        transition: str,
        step: int,
        process: float,
        noise: float,
    ) -> None:
        super().__init__()
        eye = torch.eye(3 * dimensions)
        frame = 1 / step
        course = torch.tensor([[1.0, frame, frame**2 / 2], [0.0, 1.0, frame], [0.0, 0.0, 1.0]])
        moved = torch.kron(course, torch.eye(dimensions)) if transition == TRANSITIONS[0] else eye
        self.transition = nn.Parameter(moved.repeat(filters, 1, 1))
        self.observation = nn.Parameter(eye.repeat(filters, 1, 1))
        self.process = nn.Parameter(torch.full((filters, 3 * dimensions), process))
        self.noise = nn.Parameter(torch.full((filters, 3 * dimensions), noise))

    def forward(self) -> LinearModel:
        """The models in float64, each (G, 1, ., .): the second dimension is the batch's."""
        return LinearModel(
            self.transition.double().unsqueeze(1),
            self.observation.double().unsqueeze(1),
            torch.diag_embed(F.softplus(self.process.double())).unsqueeze(1),
            torch.diag_embed(F.softplus(self.noise.double())).unsqueeze(1),
        )
