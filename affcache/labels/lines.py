"""Label files line by line: every mistake is an error that names the file and the line."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from affcache.errors import LabelError

SCALE_HINT = "is it on another scale, such as AFEW-VA's -10..10? Set labels.scale in the manifest"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a label file, cut into fields."""

    path: Path
    number: int
    fields: tuple[str, ...]

    def wrong(self, what: str) -> NoReturn:
        """Refuse this line."""
        raise LabelError(f"label file {self.path}, line {self.number}: {what}")

    def expect(self, count: int, header: Sequence[str]) -> None:
        """Refuse a line with another number of fields than the header has."""
        if len(self.fields) != count:
            self.wrong(f"{len(self.fields)} fields, expected {count} ({', '.join(header)})")

    def real(self, text: str, name: str) -> float:
        """A finite number."""
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.wrong(f"{name} is {text!r}, expected a number")
        return value

    def affect(self, text: str, name: str, scale: float = 1.0, hint: str = "") -> float:
        """Valence or arousal, divided by its scale, in [-1, 1]."""
        value = self.real(text, name)
        if abs(value) > scale:
            tail = f"; {hint}" if hint else ""
            self.wrong(f"{name} {text} is outside [-{scale:g}, {scale:g}]{tail}")
        return value / scale

    def whole(self, text: str, name: str, allowed: range) -> int:
        """A whole number of a range."""
        if not text.removeprefix("-").isdecimal() or not text.isascii():
            self.wrong(f"{name} is {text!r}, expected a whole number")
        value = int(text)
        if value not in allowed:
            self.wrong(f"{name} {value} is outside {allowed.start}..{allowed.stop - 1}")
        return value


def read_lines(path: Path, separator: str) -> list[Line]:
    """A text file's lines, cut at a separator, blanks around fields taken off.

    Fields may stand in double quotes. Empty lines at the end do not count; one in the middle is a
    mistake. UTF-8, with or without a byte order mark; any line ending.

    Raises
    ------
    LabelError
        If the file cannot be read, is empty or has an empty line in its middle.
    """
    lines: list[Line] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=separator, strict=True)
            for row in rows:
                fields = tuple(field.strip() for field in row)
                lines.append(Line(path, rows.line_num, fields))
    except csv.Error as error:
        raise LabelError(f"label file {path}, line {rows.line_num}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"label file {path}: cannot be read as text ({error})") from None
    while lines and not any(lines[-1].fields):
        lines.pop()
    if not lines:
        raise LabelError(f"label file {path}, line 1: the file is empty, expected a header")
    for line in lines:
        if not line.fields:
            line.wrong("empty line in the middle of the file")
    return lines
