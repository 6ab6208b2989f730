"""Small Affective Processes and windows with frames that do not count."""

from typing import Any

import torch

from stages.train.ap.settings import ApSettings
from stages.train.heads import Sizes, Windows
from stages.train.heads.ap import AffectiveProcess


def sizes(features: int = 12, targets: int = 2) -> Sizes:
    """One stream of features, and as many targets of one task."""
    if targets == 2:
        return Sizes({"features": features}, {"va": ("valence", "arousal")}, 25.0)
    names = tuple(f"AU{i}" for i in range(targets))
    return Sizes({"features": features}, {"au_intensity": names}, 25.0)


def a_head(
    dtype: torch.dtype = torch.float64, targets: int = 2, **settings: Any
) -> AffectiveProcess:
    """Eight units wide, weights decided."""
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, **settings}
    return AffectiveProcess(sizes(12, targets), ApSettings(**settings)).to(dtype)


def some_windows(
    batch: int = 3, frames: int = 20, dtype: torch.dtype = torch.float64, targets: int = 2
) -> Windows:
    """Random windows with a few frames that do not count, full of NaN as in a cache."""
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(batch, frames, 12, generator=draw, dtype=dtype)
    labels, pseudo = torch.rand(2, batch, frames, targets, generator=draw, dtype=dtype) * 2 - 1
    mask = torch.rand(batch, frames, generator=draw) < 0.7
    features[~mask] = 0
    labels[~mask] = torch.nan
    pseudo[~mask] = torch.nan
    return Windows(features, pseudo, labels, mask)


def drawn(seed: int = 0) -> torch.Generator:
    """Randomness from a seed."""
    return torch.Generator().manual_seed(seed)
