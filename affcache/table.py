"""A result for people (a table) or for programs (JSON): every command prints one of the two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from affcache.printable import printable


def show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool = False) -> None:
    """Print rows that share their keys; numbers are right-aligned, floats have three places."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left", header_style="bold")
    for key in rows[0] if rows else ():
        numeric = all(isinstance(row[key], int | float | None) for row in rows)
        table.add_column(key, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    Console(width=None).print(table)


def _cell(value: object) -> str:
    """A value as text; what came from a stranger's file cannot steer the terminal."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "\n".join(map(printable, str(value).split("\n")))
