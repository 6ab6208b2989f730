"""Where a run's batches are drawn from: one set of videos, or some windows of each of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from affcache.errors import RecipeError
from affcache.mixing import MixedWindows
from affcache.progress import say
from affcache.windows import RandomWindows
from affcache.windows import Sequence as FrameSequence
from stages.train.run import Run


def windows_of(run: Run, training: Sequence[FrameSequence]) -> RandomWindows:
    """Where a run's batches come from; says which videos never will."""
    source = draw_from(run, training)
    if source.unused:
        say(f"never drawn, too short or hardly labelled: {', '.join(source.unused)}")
    return source


def draw_from(run: Run, training: Sequence[FrameSequence]) -> RandomWindows:
    """Where a run's batches come from, without a word.

    Raises
    ------
    CacheError
        If no window of the recipe's lengths has enough frames that count.
    RecipeError
        If windows are mixed and the caches are not as many as `windows.mix` says.
    """
    chosen, seed = run.recipe.windows, int(run.config["seed"])
    if chosen.mix:
        return MixedWindows(
            by_cache(training, len(chosen.mix)),
            sizes=chosen.mix,
            length=chosen.longest,
            seed=seed,
        )
    return RandomWindows(
        training,
        shortest=chosen.shortest,
        longest=chosen.longest,
        batch=chosen.batch,
        seed=seed,
    )


def by_cache(sequences: Sequence[FrameSequence], expected: int) -> list[list[FrameSequence]]:
    """Sequences in one list for each cache that they came from, in the order of caches.

    Raises
    ------
    RecipeError
        If there are more or fewer caches than `windows.mix` has numbers.
    """
    found: dict[Path | None, list[FrameSequence]] = {}
    for s in sequences:
        found.setdefault(s.origin.cache if s.origin else None, []).append(s)
    if len(found) != expected:
        raise RecipeError(
            f"windows.mix has {expected} numbers, and training videos come from {len(found)} "
            "cache(s): give as many --cache, or --set windows.mix=[] to draw from all videos alike"
        )
    return list(found.values())
