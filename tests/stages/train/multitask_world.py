"""A small simulated cache with all three tasks, and options that make a run of seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.simulate.cache import Backbone, CacheSettings, simulate_cache

SHORT = ("training.epochs=2", "training.iterations=20")


def small_world(path: Path, **changes: Any) -> Path:
    """Fourteen people of 90 frames, SIMULATED; half of the training videos lack expressions."""
    settings = {
        "videos": 14,
        "frames": 90,
        "seed": 2,
        "missing": 0.05,
        "tasks": ("va", "expr", "au"),
        "drop": {"expr": 0.5},
        "backbone": Backbone(width=32),
    }
    simulate_cache(path, CacheSettings(**{**settings, **changes}))
    return path


def short(*more: str) -> list[str]:
    """`--set` options for a run of seconds."""
    return [word for change in (*SHORT, *more) for word in ("--set", change)]
