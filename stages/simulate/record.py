"""What a simulated data set says of itself, and that two of them never mix in one folder.

`simulation.json` holds the statement that everything here is simulated, the settings and the seed
that decide every pixel and label, and where each person's portrait came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from affcache import __version__
from affcache.errors import SimulationError
from stages.simulate.drives import Habits
from stages.simulate.portraits import PEOPLE

ABOUT = (
    "SIMULATED: photographs of people, warped so that their expression follows random valence and "
    "arousal. Nobody felt, showed or annotated anything here. Good for checking that a pipeline "
    "recovers known drives on people it has not seen; says nothing about real affect."
)
ENCODER = {"preset": "superfast", "crf": "20", "threads": "1"}
RECORD = "simulation.json"
DECIDING = ("settings", "encoder", "subjects")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides every pixel and label; `clips` of each person, `frames` of each clip."""

    people: int = len(PEOPLE)
    clips: int = 8
    frames: int = 150
    size: int = 192
    fps: float = 25.0
    seed: int = 0
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        if not 1 <= self.people <= len(PEOPLE):
            raise SimulationError(
                f"{self.people} people asked for, the fetched pictures show {len(PEOPLE)}: choose "
                f"--people from 1 to {len(PEOPLE)}"
            )
        if self.size < 64 or self.size % 2:
            raise SimulationError(
                f"size {self.size}: choose an even number of pixels, at least 64 (no face is found "
                "in smaller pictures, and the video's colour is stored at half resolution)"
            )


def subject_name(person: int) -> str:
    """The name in the data set of a person who is counted from 0."""
    return f"p{person + 1:02d}"


def claim(out: Path, settings: Settings) -> None:
    """Make the folders and the record, or check that those there are of the same settings."""
    record = _record(settings)
    path = out / RECORD
    if path.exists():
        _check_same(path, record)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SimulationError(f"{out}: is not empty and holds no simulation; choose another folder")
    for folder in ("videos", "labels", ".partial"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for leftover in (out / ".partial").iterdir():
        leftover.unlink()
    partial = out / ".partial" / RECORD
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _check_same(path: Path, record: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_bytes())
        there = {key: value for part in DECIDING for key, value in _flat(found[part], part)}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SimulationError(f"{path}: is not the record of a simulation") from None
    now = {key: value for part in DECIDING for key, value in _flat(record[part], part)}
    differing = [
        f"{key}: {there.get(key, 'absent')} there, {now.get(key, 'absent')} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    ]
    if differing:
        raise SimulationError(
            f"{path.parent}: holds another simulation ({'; '.join(differing[:5])}); choose another "
            "folder or remove this one"
        )


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _record(settings: Settings) -> dict[str, Any]:
    record = {
        "about": ABOUT,
        "simulated": True,
        "affcache": __version__,
        "settings": asdict(settings),
        "encoder": ENCODER,
        "subjects": {
            subject_name(i): asdict(person) for i, person in enumerate(PEOPLE[: settings.people])
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain
