"""What decides every number of a simulated cache: who is drawn, how affect moves, what shows it.

The defaults are the parameter set in which context matters. Variances and levels are in units of
the latents, which have variance 1; labels are the latents times `Process.label_scale`. Time
constants count frames, so another frame rate means another speed in seconds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from affcache.errors import SimulationError
from affcache.schema import SPLITS, VIDEO_ARRAYS, is_safe_id

TASKS = ("va", "expr", "au", "au_intensity")


def _within(default: float, low: float, high: float = math.inf) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How affect moves, and what hides it from a single frame.

    Attributes
    ----------
    pole_frames : both poles of a latent's AR(2), as a time constant in frames
    offset_variance : of the sequence's own offset, which adds to what the face shows of each latent
        and not to the labels: one frame cannot tell it from affect, the course of many can
    noise_variance : mean over time of the observation noise's variance
    noise_log_sd : standard deviation of the logarithm of that variance; the noise itself is white
    noise_frames : time constant in frames of that logarithm's AR(1), which the features show
    annotator_variance, annotator_frames : AR(1) that the labels have and nothing else shows
    label_scale : labels are this times (latent + annotator's noise), cut at -1 and 1
    """

    pole_frames: float = _within(40.0, 0.1, 1e5)
    offset_variance: float = _within(0.4, 0.0, 1e3)
    noise_variance: float = _within(1.4, 1e-6, 1e3)
    noise_log_sd: float = _within(0.7, 0.0, 3.0)
    noise_frames: float = _within(50.0, 0.1, 1e5)
    annotator_variance: float = _within(0.02, 0.0, 1e2)
    annotator_frames: float = _within(50.0, 0.1, 1e5)
    label_scale: float = _within(0.3, 1e-3, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """How a frame becomes a vector: one fixed random network, the same for every cache and seed.

    Attributes
    ----------
    width : features of a frame
    units : tanh units between what a frame shows and its features
    noise : standard deviation of the white noise on every feature
    identity : scale of the 4 numbers that make a person
    gain : of what enters the units; larger bends more
    seed : of the network's weights
    """

    width: int = _within(512, 1, 1 << 16)
    units: int = _within(64, 1, 1 << 12)
    noise: float = _within(0.3, 0.0, 100.0)
    identity: float = _within(0.5, 0.0, 100.0)
    gain: float = _within(0.2, 1e-3, 10.0)
    seed: int = _within(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """A simulated cache: the same settings make the same bytes.

    Attributes
    ----------
    videos, frames : how many videos, and frames of each
    seed : of everything but the backbone; video i depends on (seed, i, its person) alone
    fps : frames per second; sets the time axis only
    lag : frames by which labels trail the features; negative if they lead
    lag_jitter : each sequence's own lag is uniform over lag - lag_jitter .. lag + lag_jitter
    missing : share of frames without a face, in runs of about 12
    changes : abrupt changes in each video: the latents start afresh, drawn independently
    subjects : persons, of whom video i shows person i % subjects; None: one for each video
    splits : how persons are shared out among train, validation, test, in this ratio and order
    folds : if set, persons are dealt to this many folds, written into the labels' attributes
    tasks : which labels and pseudo-labels are written; expressions and units follow from valence
        and arousal (`stages.simulate.circumplex`)
    drop : task -> share of the training videos without labels for it, spread so that a video keeps
        at least one task wherever the shares allow it
    streams : name -> width of further streams, such as {"low": 64}: the same numbers that the
        features show, through a network and under noise of their own
    process, backbone : the generative model
    """

    videos: int = _within(600, 1, 10**6)
    frames: int = _within(600, 1, 10**6)
    seed: int = _within(0, 0)
    fps: float = _within(25.0, 1e-3, 1e4)
    lag: int = _within(0, -(10**4), 10**4)
    lag_jitter: int = _within(0, 0, 10**3)
    missing: float = _within(0.0, 0.0, 0.9)
    changes: int = _within(0, 0, 10**4)
    subjects: int | None = None
    splits: tuple[float, ...] = (4.0, 1.0, 1.0)
    folds: int | None = None
    tasks: tuple[str, ...] = ("va",)
    drop: Mapping[str, float] = field(default_factory=dict)
    streams: Mapping[str, int] = field(default_factory=dict)
    process: Process = field(default_factory=Process)
    backbone: Backbone = field(default_factory=Backbone)

    def __post_init__(self) -> None:
        for part in (self, self.process, self.backbone):
            _check_ranges(part)
        if self.subjects is not None and not 1 <= self.subjects <= self.videos:
            raise SimulationError(
                f"{self.subjects} subjects for {self.videos} videos: choose from 1 to {self.videos}"
            )
        if self.folds is not None and not 2 <= self.folds <= self.people:
            raise SimulationError(f"{self.folds} folds of {self.people} subjects: choose 2 or more")
        if len(self.splits) != len(SPLITS) or min(self.splits) < 0 or not sum(self.splits) > 0:
            raise SimulationError(
                f"splits {self.splits}: give three numbers, the ratio of {', '.join(SPLITS)}, "
                "such as 4,1,1"
            )
        _check_tasks("tasks", self.tasks)
        _check_tasks("drop", self.drop)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise SimulationError(f"tasks {','.join(self.tasks) or '(none)'}: name each task once")
        for task, share in self.drop.items():
            if task not in self.tasks or not 0 <= share <= 1:
                raise SimulationError(
                    f"drop {task}={share}: give a task of {', '.join(self.tasks)} and a share from "
                    "0 to 1"
                )
        for name, width in self.streams.items():
            if name in VIDEO_ARRAYS or not is_safe_id(name) or not 1 <= width <= 1 << 16:
                raise SimulationError(
                    f"stream {name}={width}: give a name that no other array has, and a width"
                )
        if self.changes > self.frames // 2:
            raise SimulationError(
                f"{self.changes} changes in {self.frames} frames: at most one in two frames"
            )

    @property
    def people(self) -> int:
        """How many persons there are."""
        return self.videos if self.subjects is None else self.subjects

    @property
    def reach(self) -> int:
        """The largest lag of any sequence, either way, in frames."""
        return abs(self.lag) + self.lag_jitter


def _check_ranges(settings: CacheSettings | Process | Backbone) -> None:
    for entry in dataclasses.fields(settings):
        low, high = entry.metadata.get("range", (None, None))
        value = getattr(settings, entry.name)
        if low is None:
            continue
        if isinstance(value, bool) or not isinstance(
            value, int if entry.type == "int" else int | float
        ):
            kind = "a whole number" if entry.type == "int" else "a number"
            raise SimulationError(f"{entry.name} is {value!r}, expected {kind}")
        if not (math.isfinite(value) and low <= value <= high):
            upto = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise SimulationError(f"{entry.name} is {value:g}, expected {upto}")


def _check_tasks(what: str, tasks: Iterable[str]) -> None:
    for task in tasks:
        if task not in TASKS:
            raise SimulationError(f"{what}: {task!r} is no task; there are {', '.join(TASKS)}")
