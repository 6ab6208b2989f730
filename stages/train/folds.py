"""Folds: who is left out of which model, person by person, so that nobody is on both sides.

Paper 004, section 4.3.1: five folds over the training and validation subjects, beside the original
split. Convention: a fold's number counts from 1 where people read it and from 0 in the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from affcache.errors import CacheError
from affcache.readout import group_folds
from affcache.store import Video

ORIGINAL = "original"


class Fold(NamedTuple):
    """Ids of the videos that one model learns from, and of those that it is validated on."""

    name: str
    training: frozenset[str]
    validation: frozenset[str]


def subject_folds(
    subjects: Mapping[str, str],
    frames: Mapping[str, int],
    count: int,
    annotated: Mapping[str, int] | None = None,
) -> list[Fold]:
    """Leave out each of `count` groups of people once.

    The paper calls its folds random; these are as equal in labelled frames as whole people allow,
    and the same every time.

    Parameters
    ----------
    subjects : video -> person
    frames : video -> labelled frames
    count : of folds, 2 or more
    annotated : video -> fold from 0, where the data set has folds of its own; used instead

    Raises
    ------
    CacheError
        If there are fewer people than folds, or folds of the data set split a person.

    >>> [f.validation for f in subject_folds({"v": "ann", "w": "bob"}, {"v": 9, "w": 5}, 2)]
    [frozenset({'v'}), frozenset({'w'})]
    """
    sizes: dict[str, int] = {}
    for video, person in subjects.items():
        sizes[person] = sizes.get(person, 0) + frames[video]
    if count < 2 or len(sizes) < count:
        raise CacheError(
            f"{count} folds of {len(sizes)} people: choose from 2 to as many as there are people"
        )
    chosen = group_folds(sizes, count)
    if annotated is not None:
        chosen = {person: annotated[video] for video, person in subjects.items()}
        torn = sorted({p for v, p in subjects.items() if annotated[v] != chosen[p]})
        if torn:
            raise CacheError(f"the annotated folds split {', '.join(torn)}: one fold a person")
    everybody = frozenset(subjects)
    left_out = [frozenset(v for v, p in subjects.items() if chosen[p] == k) for k in range(count)]
    return [Fold(f"fold-{k + 1}", everybody - out, out) for k, out in enumerate(left_out)]


def annotated_folds(videos: Sequence[Video], count: int) -> dict[str, int] | None:
    """Folds that the label attributes name, video -> fold; None unless they are `count` folds.

    `folds` is a number from 0, or one per task of which the first stands for all.
    """
    found = {}
    for video in videos:
        said = video.label_attributes.get("folds")
        number = next(iter(said.values()), None) if isinstance(said, dict) else said
        if not isinstance(number, int) or isinstance(number, bool):
            return None
        found[video.id] = number
    return found if set(found.values()) == set(range(count)) else None
