"""Which videos train, validate and test: four rules, so that a manifest needs no code.

Convention: everybody in a subject's videos moves together; shares are of subjects, not of videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from affcache.schema import SPLITS

RULES = ("id", "subject", "share", "annotation")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How a video's split is found.

    Attributes
    ----------
    by : "id" or "subject" (compared with patterns), "share" (of the subjects, in the order of
        their names) or "annotation" (the folder that the annotation lies in, task by task)
    patterns : split -> shell patterns, for "id" and "subject"
    shares : split -> share in (0, 1], for "share"
    """

    by: str
    patterns: Mapping[str, tuple[str, ...]]
    shares: Mapping[str, float]


def by_pattern(patterns: Mapping[str, Iterable[str]], text: str) -> str | None:
    """The first split one of whose shell patterns fits, None where none does.

    >>> by_pattern({"train": ["Train_*"], "test": ["*"]}, "Devel_DE_01")
    'test'
    """
    for split, wanted in patterns.items():
        if any(fnmatchcase(text, pattern) for pattern in wanted):
            return split
    return None


def by_share(subjects: Iterable[str], shares: Mapping[str, float]) -> dict[str, str]:
    """Consecutive subjects, in the order of their names, in the given shares.

    Every split with a share gets a subject as long as there are enough of them; without any
    share nobody is in a split.

    >>> by_share(["p10", "p2", "p1", "p3"], {"train": 0.5, "validation": 0.25, "test": 0.25})
    {'p1': 'train', 'p2': 'train', 'p3': 'validation', 'p10': 'test'}
    """
    ordered = sorted(set(subjects), key=natural)
    splits = [split for split in SPLITS if shares.get(split, 0) > 0]
    if not splits:
        return {}
    counts = _apportion(len(ordered), [shares[split] for split in splits])
    names = [split for split, count in zip(splits, counts, strict=True) for _ in range(count)]
    return dict(zip(ordered, names, strict=True))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key that puts p2 before p10."""
    parts = re.split(r"(\d+)", text)
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts)


def _apportion(total: int, shares: list[float]) -> list[int]:
    """Whole numbers that add up to the total, by largest remainder, none empty if avoidable."""
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_rest = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in by_rest[: total - sum(counts)]:
        counts[i] += 1
    while 0 in counts and max(counts) > 1:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return counts
