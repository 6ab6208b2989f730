"""ARFF (Weka's table, which AVEC and openSMILE write): named, typed columns, then dense rows.

Names and values may stand in single or double quotes, with backslash escapes; `?` is a missing
value, `%` begins a comment. Sparse rows (in braces), instance weights and relational attributes are
refused, for nobody writes features of frames so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from affcache.errors import ForeignError
from affcache.foreign.rows import Block, Wanted, text_blocks

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|[^\s{{}},'\"%]+)\s+(.+)", re.IGNORECASE)
_FIELD = re.compile(rf"\s*({_QUOTED}|[^,'\"]*?)\s*(,|$)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_TYPES = ("numeric", "real", "integer", "string", "date", "{")


def read(path: Path, wanted: Wanted) -> Iterator[Block]:
    """The rows of an ARFF file.

    Raises
    ------
    ForeignError
        If the file breaks the format or uses a part of it that is not read here; the message names
        the line.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = enumerate(file, start=1)
            names = _header(lines, path)
            yield from text_blocks(_rows(lines, path), names, wanted, path)
    except UnicodeDecodeError as error:
        raise ForeignError(f"{path}: cannot be read as text ({error})") from None


def _header(lines: Iterator[tuple[int, str]], path: Path) -> list[str]:
    names: list[str] = []
    for number, line in lines:
        text = line.strip()
        word = text.split(None, 1)[0].lower() if text else ""
        if not text or text.startswith("%") or word == "@relation":
            continue
        if word == "@data":
            if not names:
                raise ForeignError(f"{path}, line {number}: data without a single @attribute")
            return names
        found = _ATTRIBUTE.fullmatch(text)
        if found is None or not found[2].lower().startswith(_TYPES):
            raise ForeignError(
                f"{path}, line {number}: {text!r:.80}, expected @attribute NAME TYPE or @data"
            )
        names.append(unquote(found[1]))
    raise ForeignError(f"{path}: there is no @data; is it an ARFF file?")


def _rows(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        if text.startswith("{") or text.endswith("}"):
            raise ForeignError(
                f"{path}, line {number}: sparse rows and instance weights are not read here; "
                "write the file dense"
            )
        try:
            yield number, cut(text)
        except ValueError:
            raise ForeignError(f"{path}, line {number}: a quote is not closed") from None


def cut(text: str) -> list[str]:
    r"""The fields of one dense row.

    >>> cut("'train, 1', 0.04, ?,\"it's\"")
    ['train, 1', '0.04', '?', "it's"]
    """
    fields: list[str] = []
    at = 0
    while "'" in text[at:] or '"' in text[at:]:
        found = _FIELD.match(text, at)
        if found is None:
            raise ValueError(text)
        fields.append(unquote(found[1]))
        at = found.end()
        if found[2] == "":
            return fields
    return [*fields, *(field.strip() for field in text[at:].split(","))]


def unquote(text: str) -> str:
    r"""A name or value without its quotes and escapes.

    >>> unquote(r"'it\'s'")
    "it's"
    """
    if len(text) < 2 or text[0] not in "'\"":
        return text
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])
