"""The `[model]` table of the Kalman-RNNs' recipes, and what its words mean for some data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from affcache.errors import RecipeError
from stages.train.kalman.layer import TRANSITIONS
from stages.train.losses.regression import OVER
from stages.train.settings import choice, number, text
from stages.train.sizes import Sizes

STATES = ("single", "joint")
ALIGNMENTS = ("none", "manual", "adaptive")
SEARCH = "search"


@dataclass(frozen=True, slots=True, kw_only=True)
class KalmanSettings:
    """The `[model]` table of an LSTM with a Kalman filter.

    Attributes
    ----------
    first, second, memory : units of the two layers and of the LSTM (paper 003, IV.C)
    state : "single", a network per dimension, or "joint", one whose state holds all dimensions and
        their derivatives (the paper's *)
    alignment : what is done about the annotators' delay
    delays : of manual alignment: seconds per target with commas between them, or "search" for what
        correlates best on the training data (see `manual`)
    reach : D, frames that alignment looks back and ahead or searches through (IV.C: 100)
    delay_rate : learning rate of mu' over the recipe's. Adam moves mu by up to 100 times its
        learning rate a step, so 0.001 would take a thousand steps for 100 frames
    derivative_weight : lambda_1 and lambda_2 of eq. 17 (IV.C: 0.25)
    derivative_seconds : step and unit of time of the derivatives, see `objective`
    warm_up_seconds : how much of a training window's beginning is not learnt from: LSTM and filter
        know nothing there, which matters in a window and not in the paper's minutes
    concordance : whether CCC is of the whole batch as one series or averaged over its windows
    transition : what F starts as; "acceleration" moves z by z' and z''
    process, noise : what q and r start as; softplus makes variances of them
    noise_rate : learning rate of q and r over the recipe's
    """

    first: int = number(29, low=1)
    second: int = number(16, low=1)
    memory: int = number(16, low=1)
    state: str = choice("single", STATES)
    alignment: str = choice("none", ALIGNMENTS)
    delays: str = text(SEARCH)
    reach: int = number(100, low=1, high=1000)
    delay_rate: float = number(20.0, low=0.0)
    derivative_weight: float = number(0.25, low=0.0)
    derivative_seconds: float = number(0.4, low=0.0)
    warm_up_seconds: float = number(1.0, low=0.0)
    concordance: str = choice("pooled", OVER)
    transition: str = choice("acceleration", TRANSITIONS)
    process: float = number(-2.0)
    noise: float = number(0.0)
    noise_rate: float = number(1.0, low=0.0)

    def step(self, fps: float) -> int:
        """Frames in the unit of time of the derivatives, at least one."""
        return max(1, round(self.derivative_seconds * fps))

    def given_delays(self, sizes: Sizes) -> tuple[int, ...] | None:
        """Delays of manual alignment in frames, one a target; None if they are to be searched for.

        Raises
        ------
        RecipeError
            If they are not one number a target.
        """
        if self.delays == SEARCH:
            return None
        try:
            seconds = [float(part) for part in self.delays.split(",")]
        except ValueError:
            seconds = []
        if len(seconds) != sizes.count or not all(map(math.isfinite, seconds)):
            raise RecipeError(
                f"model.delays = {self.delays!r}, expected {sizes.count} numbers of seconds with "
                f"commas between them ({', '.join(names(sizes))}), or {SEARCH!r}"
            )
        return tuple(round(s * sizes.fps) for s in seconds)


def names(sizes: Sizes) -> list[str]:
    """Of all targets, in the order of their columns."""
    return [name for columns in sizes.targets.values() for name in columns]
