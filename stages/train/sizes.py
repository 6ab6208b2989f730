"""What the data decides about a head: widths of its streams, names of its targets, frame rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the data decides about a head.

    Attributes
    ----------
    streams : stream -> width, in the order of the columns of `Windows.features`
    targets : task -> names of its columns, in the order of the K columns
    fps : frames per second of the training data, the median over its videos
    """

    streams: dict[str, int]
    targets: dict[str, tuple[str, ...]]
    fps: float

    @property
    def features(self) -> int:
        """Columns of all streams together, D."""
        return sum(self.streams.values())

    @property
    def count(self) -> int:
        """Columns of all tasks together, K."""
        return sum(map(len, self.targets.values()))

    def stream(self, name: str) -> slice:
        """Where a stream's columns are."""
        return _slices(self.streams)[name]

    def columns(self, task: str) -> slice:
        """Where a task's columns are."""
        return _slices({task: len(names) for task, names in self.targets.items()})[task]


def _slices(widths: Mapping[str, int]) -> dict[str, slice]:
    ends = list(accumulate(widths.values()))
    return {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}
