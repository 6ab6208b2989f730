"""Random streams: everything drawn in iteration k of a run is a function of (seed, k) alone."""

from __future__ import annotations

import hashlib


def stream(seed: int, iteration: int) -> int:
    """The seed of everything random in one iteration (-1: of the initial weights)."""
    digest = hashlib.blake2b(f"{seed}/{iteration}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
