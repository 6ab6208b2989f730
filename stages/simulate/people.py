"""Who is in which video, split and fold of a simulated cache, and which labels are left out.

All of it is arithmetic on the settings: no dice are thrown, so shares are exact.
"""

from __future__ import annotations

from affcache.schema import SPLITS
from stages.simulate.settings import CacheSettings


def video_name(seed: int, video: int) -> str:
    """The id of a video counted from 0; caches of several seeds can be merged."""
    return f"s{seed}_v{video:05d}"


def person_name(seed: int, person: int) -> str:
    """The subject of a person counted from 0."""
    return f"s{seed}_p{person:05d}"


def split_of(settings: CacheSettings, video: int) -> str:
    """train, validation or test: persons in order, by the ratio of `settings.splits`."""
    person = video % settings.people
    counts = split_sizes(settings.people, settings.splits)
    return SPLITS[sum(person >= sum(counts[: k + 1]) for k in range(len(counts)))]


def split_sizes(people: int, ratio: tuple[float, ...]) -> list[int]:
    """Persons in each split: rounded shares, at least one wherever the ratio is not 0.

    Where there are fewer persons than splits, the first splits go without.

    >>> split_sizes(600, (4, 1, 1)), split_sizes(4, (4, 1, 1)), split_sizes(2, (4, 1, 1))
    ([400, 100, 100], [2, 1, 1], [0, 1, 1])
    """
    sizes, left, rest = [0] * len(ratio), people, sum(ratio)
    for k in reversed(range(len(ratio))):
        if ratio[k] > 0 and left:
            sizes[k] = left if k == 0 else min(left, max(1, round(left * ratio[k] / rest)))
        rest -= ratio[k]
        left -= sizes[k]
    if left:
        sizes[max(k for k in range(len(ratio)) if ratio[k] > 0)] += left
    return sizes


def fold_of(settings: CacheSettings, video: int) -> int:
    """The fold of a video's person, from 0; persons are dealt in turn."""
    return (video % settings.people) % (settings.folds or 1)


def dropped(settings: CacheSettings, video: int) -> set[str]:
    """Tasks whose labels a training video goes without.

    Training videos are laid round a circle; each task leaves out an arc, and the arcs follow one
    another, so they overlap only where the shares add up to more than 1. With two tasks at one
    half every video has exactly one of them.
    """
    training = split_sizes(settings.people, settings.splits)[0]
    turn, person = divmod(video, settings.people)
    if person >= training:
        return set()
    turns, more = divmod(settings.videos, settings.people)
    at = (turn * training + person + 0.5) / (turns * training + min(more, training))
    gone, start = set(), 0.0
    for task, share in sorted(settings.drop.items()):
        if (at - start) % 1.0 < share:
            gone.add(task)
        start += share
    return gone
