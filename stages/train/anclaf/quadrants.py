"""Q of paper 001 where a cache has no quadrant stream: where the pseudo-labels lie in the plane.

Paper 001, section 3.1: a discriminator says in which of the four quadrants of the valence-arousal
circumplex a face lies, and [Z; Q] is what everything else is computed from.

Convention: quadrants count anticlockwise from the upper right, as the authors' code numbers them:
(valence +, arousal +), (-, +), (-, -), (+, -).
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("soft", "hard")
COUNT = 4


def quadrants(pseudo: Tensor, kind: str = "soft") -> Tensor:
    """Membership of the four quadrants, each in [0, 1] and 1 together.

    Parameters
    ----------
    pseudo : (..., 2) valence and arousal, finite; what lies beyond [-1, 1] counts as its border
    kind : "soft" reads (1 + v) / 2 as the chance that valence is positive, likewise arousal, and
        multiplies: the corners of the plane are certain, its middle is a quarter each, and nothing
        jumps where a pseudo-label crosses zero. "hard" is 1 for the quadrant of the signs, where
        zero counts as positive, as in the authors' code: near zero it is as noisy as the signs.

    Returns
    -------
    (..., 4)
    """
    if kind == "hard":
        pseudo = torch.where(pseudo >= 0, 1.0, -1.0).to(pseudo)
    valence, arousal = ((1 + pseudo.clamp(-1, 1)) / 2).unbind(-1)
    right, up = torch.stack([valence, 1 - valence]), torch.stack([arousal, 1 - arousal])
    return torch.stack([right[0] * up[0], right[1] * up[0], right[1] * up[1], right[0] * up[1]], -1)
