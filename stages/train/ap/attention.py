"""Attention of every frame to the context, in place of the context's mean (paper 000, section 5).

The paper's "AP + Det. + Att" says only that "self-attention is used to replace the aggregation of
the individual representations". This is the attention of its reference [23], Attentive Neural
Processes (Kim et al. 2019, section 3): in the deterministic path, queries are made of the frames to
predict, keys of the context's frames, and values are the context's r_c; the latent path keeps its
mean. As context and targets are frames of one sequence, it is attention within that sequence.
Queries and keys see features and no labels: a query that held its own frame's annotation in
training would hand it to the decoder.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ContextAttention(nn.Module):
    """Scaled dot-product attention with several heads; permuting the context changes nothing."""

    def __init__(self, wide: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(wide, width)
        self.key = nn.Linear(wide, width, bias=False)  # softmax would cancel a bias
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, features: Tensor, r: Tensor, context: Tensor) -> Tensor:
        """What the context says to every frame.

        Parameters
        ----------
        features : (B, L, D)
        r : (B, L, d) individual representations
        context : (B, L) bool; a window without any attends to all of itself, which nobody reads

        Returns
        -------
        (B, L, d)
        """
        parts = (self.query(features), self.key(features), self.value(r))
        query, key, value = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        seen = (context | ~context.any(-1, keepdim=True))[:, None, None]
        said = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        heard: Tensor = self.out(said.transpose(1, 2).flatten(2))
        return heard
