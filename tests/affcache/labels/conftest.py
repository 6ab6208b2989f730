"""A row with one annotation file, for readers that are tested alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affcache.labels import read
from affcache.labels.annotation import Annotation
from affcache.manifest import Row

Read = Callable[..., Annotation]


def row(task: str, path: Path) -> Row:
    return Row(
        id="v",
        path=path.with_suffix(".mp4"),
        source="v.mp4",
        face="largest",
        subject="v",
        split={task: "train"},
        annotations={task: path},
    )


@pytest.fixture
def read_text(tmp_path: Path) -> Read:
    """Write a label file and read it: (format, task, text, frames, scale) -> Annotation."""

    def write_and_read(
        label_format: str, task: str, text: str, frames: int = 3, scale: float = 1.0
    ) -> Annotation:
        path = tmp_path / "v.txt"
        path.write_text(text, encoding="utf-8")
        return read(label_format, row(task, path), np.arange(frames) / 25, scale)

    return write_and_read
