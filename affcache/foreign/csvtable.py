"""CSV: a header and a row per frame; OpenFace 2's is one whose names begin with a space.

OpenFace's FeatureExtraction writes `frame, face_id, timestamp, confidence, success, gaze_0_x, ...`:
blanks around names and fields do not count here, so the columns are called what its manual calls
them. A double quote at a field's begin quotes it. An empty line is an empty field: in a file of one
column a value that is missing, in others a mistake. UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from affcache.errors import ForeignError
from affcache.foreign.rows import Block, Wanted, text_blocks

OPENFACE = ("frame", "timestamp", "confidence", "success")


def read(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of a CSV file.

    Raises
    ------
    ForeignError
        If it cannot be read as text, a row has another number of fields than the header, or a
        feature is no number; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file, delimiter=wanted.delimiter, skipinitialspace=True, strict=True
            )
            rows = _rows((reader.line_num, row) for row in reader)
            first = next(rows, None)
            if first is None:
                raise ForeignError(f"{path}: is empty")
            if wanted.header:
                names = [name.strip() for name in first[1]]
            else:
                names = [str(k) for k in range(1, len(first[1]) + 1)]
            body = rows if wanted.header else itertools.chain([first], rows)
            yield from text_blocks(body, names, wanted, path)
    except csv.Error as error:
        raise ForeignError(f"{path}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise ForeignError(f"{path}: cannot be read as text ({error})") from None


def _rows(lines: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Rows; an empty line is an empty field, except before the header and behind the last row."""
    empty: list[int] = []
    began = False
    for line, row in lines:
        if not row:
            empty.append(line)
            continue
        if began:
            yield from ((number, [""]) for number in empty)
        empty, began = [], True
        yield line, row


def looks_like_openface(path: Path) -> bool:
    """Whether a CSV's first line names OpenFace's columns."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = {name.strip() for name in file.readline(1 << 20).split(",")}
    return names.issuperset(OPENFACE)
