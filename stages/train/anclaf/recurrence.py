"""An LSTM over n frames that may attend to its own past states (paper 001, eq. 4 to 8).

Every prediction is made from n successive frames, beginning with an empty state: so says section
3.2, and without it n would mean nothing for the variant without attention. In training a window is
cut into stretches of n frames, of which every frame is predicted, as in the authors' code; in
testing every frame is the last of a stretch of its own (`slide`), so that it has all the past that
training knew, and the first frames of a video have less.

With attention, the step into a frame sees the states S = [h; c] before it, the empty one among
them: 1 in a stretch's first frame, n in its last.

- eq. 5 scores a past state by W_a [S_t; S]. What W_a makes of S_t is the same for all of them, and
  a softmax does not see what is the same for all: eq. 5 is eq. 6, and W_a reads the past state
  alone here. (A parameter for S_t would get a gradient of exactly 0.)
- eq. 7 divides the weighted average, whose weights already add up to 1, by n once more. That would
  halve the context at every stage of the curriculum; it is "printed", and not the default.

Convention: a frame that does not count leaves the state as it is and adds none to the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

READINGS = ("average", "printed")


class State(NamedTuple):
    """What an LSTM carries from step to step: output h and cell c, both (..., d)."""

    hidden: Tensor
    cell: Tensor


class Attention(NamedTuple):
    """Parameters of the attention.

    Attributes
    ----------
    score : (2 d,) W_a on a past [h; c]
    context : (4 d, 2 d) what the context adds to the gates, the LSTM's weights for C in eq. 8
    divide : eq. 7's n in its printed reading, else 1
    """

    score: Tensor
    context: Tensor
    divide: float = 1.0


class Step(NamedTuple):
    """One frame's result: h (..., d), and the scores of all states before it (none without
    attention), each (...), minus infinity for those that are not there."""

    hidden: Tensor
    scores: tuple[Tensor, ...]


class Past(NamedTuple):
    """States seen so far, summed under exp(score - highest): the softmax of eq. 6 as it grows."""

    total: Tensor
    weight: Tensor
    highest: Tensor


def lstm(gates: Tensor, state: State) -> State:
    """One step from the gates' sums (..., 4 d) in the order input, forget, cell, output."""
    enter, keep, new, leave = gates.chunk(4, dim=-1)
    cell = keep.sigmoid() * state.cell + enter.sigmoid() * new.tanh()
    return State(leave.sigmoid() * cell.tanh(), cell)


def add(past: Past | None, rows: Tensor, score: Tensor) -> Past:
    """Count one more state [h; c] (..., 2 d) of a score (...) in; minus infinity leaves it out."""
    score = score.unsqueeze(-1)
    if past is None:
        return Past(rows, torch.ones_like(score), score)
    highest = torch.maximum(past.highest, score).detach()
    old, new = (past.highest - highest).exp(), (score - highest).exp()
    return Past(past.total * old + rows * new, past.weight * old + new, highest)


def unroll(
    drive: Sequence[Tensor],
    counts: Sequence[Tensor],
    recurrent: Tensor,
    attention: Attention | None = None,
) -> Iterator[Step]:
    """The states of many stretches at once, frame by frame, from an empty one.

    Parameters
    ----------
    drive : for each of the n steps (..., 4 d), what the frame itself adds to the gates
    counts : for each step (...) bool, whether the frame counts
    recurrent : (4 d, d) what h adds to the gates
    attention : None for the LSTM alone (eq. 4)
    """
    empty = drive[0].new_zeros((*drive[0].shape[:-1], recurrent.shape[-1]))
    state = State(empty, empty)
    past: Past | None = None
    scores: tuple[Tensor, ...] = ()
    there = torch.ones_like(counts[0])
    for own, count in zip(drive, counts, strict=True):
        gates = own + state.hidden @ recurrent.mT
        if attention is not None:
            rows = torch.cat(state, dim=-1)
            score = (rows @ attention.score).masked_fill(~there, -torch.inf)
            past, scores = add(past, rows, score), (*scores, score)
            gates = gates + past.total / (past.weight * attention.divide) @ attention.context.mT
        there = count
        kept = zip(lstm(gates, state), state, strict=True)
        state = State(*(torch.where(count.unsqueeze(-1), new, old) for new, old in kept))
        yield Step(state.hidden, scores)


def cut(rows: Tensor, n: int) -> list[Tensor]:
    """Stretches of n frames side by side: (B, L, ...) to n steps, each (B, ceil(L / n), ...).

    Stretch s of a window holds its frames s n to s n + n - 1; the last is filled up with zeros (of
    a mask: False).
    """
    fill = [0, 0] * (rows.dim() - 2) + [0, -rows.shape[1] % n]
    padded = F.pad(rows, fill)
    return list(padded.reshape(len(rows), -1, n, *rows.shape[2:]).unbind(2))


def joined(steps: Sequence[Tensor], frames: int) -> Tensor:
    """The inverse of `cut`: n steps (B, S, ...) to (B, frames, ...)."""
    return torch.stack(list(steps), dim=2).flatten(1, 2)[:, :frames]


def slide(rows: Tensor, n: int) -> list[Tensor]:
    """For every frame the n frames that end with it: (B, L, ...) to n steps, each (B, L, ...).

    Before a window's first frame there are zeros (of a mask: False).
    """
    frames = rows.shape[1]
    padded = F.pad(rows, [0, 0] * (rows.dim() - 2) + [n - 1, 0])
    return [padded[:, k : k + frames] for k in range(n)]
