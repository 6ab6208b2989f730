"""What stage one is asked to do, and what became of it: frozen rows that cross process borders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARTS = ("decode", "detect", "backbone", "write")
# Told while a video is extracted: how many more frames are done.
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One face to follow through one video.

    Attributes
    ----------
    id : the video's name in the cache
    path : the file
    source : what the cache remembers of the path, relative to the data's root
    face : "largest", "left" or "right"
    """

    id: str
    path: Path
    source: str
    face: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for every video of a run.

    Attributes
    ----------
    cache : the cache's folder
    backbone, weights : a name of the table, and its file
    device : "cpu", "cuda" or "mps", decided
    batch : frames per batch
    fields : what the fingerprint is taken over
    force : whether a changed source replaces what is published
    """

    cache: Path
    backbone: str
    weights: Path
    device: str
    batch: int
    fields: Mapping[str, Any]
    force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a video.

    Attributes
    ----------
    id : the video's name
    status : "done", "skipped", "failed", or "halted" if the disk is full and the run must end
    reason : one line, for what is not done
    frames, faces : rows written, and those with a face
    seconds : time spent in each of PARTS, in the processes that did it
    """

    id: str
    status: str
    reason: str = ""
    frames: int = 0
    faces: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
