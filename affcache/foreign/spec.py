"""What an import is told: which foreign files hold what (read by `affcache.foreign.spectoml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from affcache.manifest.splits import SplitRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Which files hold one video each, and how their rows are read.

    Attributes
    ----------
    format : a name of `affcache.foreign.FORMATS`
    files, group : templates with {id} in one of them
    time, seconds, fps : the column of times and the seconds of its unit, or the rate
    name : the column that must say the id, or None
    where : column -> the value that rows must have
    delimiter, header : how CSV is cut
    """

    format: str
    files: str
    group: str
    time: str | None
    seconds: float
    fps: float | None
    name: str | None
    where: Mapping[str, float]
    delimiter: str
    header: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The features (see `affcache.foreign` for the keys)."""

    files: Files
    columns: tuple[str, ...]
    exclude: tuple[str, ...]
    frame: str | None
    valid: str | None
    confidence: str | None
    least_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSpec:
    """The labels of one task, or of one of its dimensions.

    Attributes
    ----------
    task : "va", "expr", "au" or "au_intensity"
    singles : "valence", "arousal", "expression" or an action unit's number -> column
    columns, exclude : the intensities' columns
    scale, missing, classes, resample : what the values mean, and the rule of `resample`
    """

    task: str
    files: Files
    singles: Mapping[str, str]
    columns: tuple[str, ...] | None
    exclude: tuple[str, ...]
    scale: float
    missing: tuple[float, ...]
    classes: tuple[str, ...]
    resample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An import's description; `text` is the file it came from."""

    dataset: str
    about: str
    features: FeatureSpec
    labels: tuple[LabelSpec, ...]
    subject: re.Pattern[str] | None
    split: SplitRule
    text: str

    def fields(self) -> dict[str, Any]:
        """What of it decides the features, for the fingerprint; where the files lie does not."""
        found = asdict(self.features)
        found["files"] = {k: v for k, v in found["files"].items() if k not in ("files", "group")}
        return found
