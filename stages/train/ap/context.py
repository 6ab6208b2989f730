"""Which frames are the context, and what labels they show (paper 000, 3.2.2, 4.2 and section 5).

In training a context is random in size and place. In testing it is chosen by the norm of the
standard deviation that each frame's own latent would have, ||sigma_C(r_c)||: the lowest, as the
paper has it, or the largest or any, as its Figure 3 compares.

Convention: mask (B, L) says which frames count; a context is a part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from affcache.errors import RecipeError

RULES = ("lowest", "largest", "random")
ALL = 0  # as a number of frames: every one that has a face


def parse(text: str) -> tuple[str, int]:
    """Rule and number of frames behind "lowest:40", or "all".

    Raises
    ------
    RecipeError
        If it is neither.

    >>> parse("largest:10")
    ('largest', 10)
    """
    if text == "all":
        return RULES[0], ALL
    rule, colon, count = text.partition(":")
    if rule not in RULES or not colon or not count.isdecimal() or int(count) < 1:
        raise RecipeError(
            f"context {text!r}: expected all, or {', '.join(RULES)} with a number of frames, "
            "such as lowest:40"
        )
    return rule, int(count)


def by_rule(score: Tensor, mask: Tensor, rule: str, count: int) -> Tensor:
    """The context (B, L) of `count` frames, all that count where there are fewer or count is 0.

    Parameters
    ----------
    score : (B, L), how uncertain each frame's own latent is
    rule : "lowest", "largest", or "random", which takes the same places in every window of a
        length, whatever else is in the batch, and takes them again the next time
    """
    if count == ALL:
        return mask
    if rule == "random":
        generator = torch.Generator().manual_seed(score.shape[-1])
        score = torch.rand(score.shape[-1], generator=generator).to(score).expand_as(score)
    wanted = torch.full((len(mask),), count, device=mask.device)
    return lowest(-score if rule == "largest" else score, mask, wanted)


def lowest(score: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """The `count` (B,) frames of lowest score (B, L) among mask (B, L), all if there are fewer.

    Ties go to the earlier frame.
    """
    return mask & (ranks(score, mask) < count.unsqueeze(-1))


def ranks(score: Tensor, mask: Tensor) -> Tensor:
    """Place (B, L) of every frame in the order of its score, frames that do not count last."""
    order = score.masked_fill(~mask, torch.inf).argsort(dim=-1, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def random_context(mask: Tensor, smallest: int, generator: torch.Generator) -> Tensor:
    """Context of a training batch: uniform in size from `smallest` to all, uniform in place.

    The size is drawn for every sequence, between `smallest` and the number of frames that count.
    """
    counted = mask.sum(-1)
    draw = torch.rand(mask.shape[0], mask.shape[1] + 1, generator=generator, device=mask.device)
    least = counted.clamp(max=smallest)
    size = least + (draw[:, 0] * (counted - least + 1)).long()
    return lowest(draw[:, 1:], mask, size)


def show_truth(
    truth: Tensor, known: Tensor, pseudo: Tensor, chance: float, generator: torch.Generator
) -> Tensor:
    """Context labels (B, L, K): a sequence's annotations with `chance`, else its pseudo-labels.

    Section 4.2 leaves open what the coin is tossed for. It is the sequence here, because in testing
    all of a context's labels are pseudo-labels: half of the training sequences then look like that.
    Where an annotation is not known (B, L, K), the pseudo-label stands in.
    """
    coin = torch.rand(truth.shape[0], 1, 1, generator=generator, device=truth.device) < chance
    return torch.where(coin & known, truth, pseudo)
