"""The table behind `affcache bench complexity`: rounded numbers, and notes below them."""

from __future__ import annotations

from typing import Any

import click

from affcache.table import show
from stages.train.complexity import complexity


def show_complexity(features: int, *, as_json: bool = False) -> None:
    """Print the rows of `complexity`, exact as JSON or rounded as a table with footnotes."""
    rows = complexity(features)
    if as_json:
        show("", rows, as_json=True)
        return
    notes = [row["note"] for row in rows if row["note"]]
    title = f"One window of each head's own recipe, {features} features a stream"
    show(title, [_readable(row, notes) for row in rows])
    for number, note in enumerate(notes, start=1):
        click.echo(f"[{number}] {note}")


def _readable(row: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    name = f"{row['head']}, {row['layout']}" if row["layout"] else row["head"]
    note = f" [{notes.index(row['note']) + 1}]" if row["note"] else ""
    return {
        "head": name + note,
        "frames": row["frames"],
        "parameters": row["parameters"],
        "M multiply-adds": row["multiply_adds"] / 1e6,
        "paper 000": _paper(row),
    }


def _paper(row: dict[str, Any]) -> str:
    if row["paper_parameters"] is None:
        return ""
    number = row["paper_parameters"]
    parameters = f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} K"
    operations = f"{row['paper_operations'] / 1e6:.0f} M"
    return f"{parameters}, {operations}"
