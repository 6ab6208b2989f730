"""AffWildNet: features and landmarks share one layer, a GRU follows their course.

Paper 002, section V.A. The landmarks join the features in the fully connected layer, which maps
both to one space; a two-layer GRU of 128 and a linear layer give valence and arousal. The loss is
1 - (CCC of valence + CCC of arousal) / 2 (equation 2) over all frames of a batch as one series: the
paper does not say over what, and a window of 80 frames is hardly long enough for a series.

The paper trains the convolutional part along; here it is frozen in the cache. Its 68 landmarks are
whatever the cache holds under that name (five points of the detector, relative to the face's box),
and a cache without landmarks is used without.
"""

from __future__ import annotations

from typing import ClassVar

from stages.train.heads.multitask import MultiTaskGru


class AffWildNet(MultiTaskGru):
    """Fully connected layer on features and landmarks, GRU, valence and arousal."""

    TASKS: ClassVar[tuple[str, ...]] = ("va",)
    OPTIONAL: ClassVar[tuple[str, ...]] = ("landmarks",)
