"""What a run came to: a closing table, each failure with its reason, or both as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from affcache.labels.report import summary as labels_summary
from affcache.table import show
from stages.extract.job import PARTS
from stages.extract.pipeline import Result


def summary(result: Result) -> dict[str, int | float]:
    """Videos by what became of them, frames, frames with a face, and seconds of wall time."""
    outcomes = result.outcomes
    return {
        "done": sum(o.status == "done" for o in outcomes),
        "skipped": sum(o.status == "skipped" for o in outcomes),
        "failed": sum(o.status == "failed" for o in outcomes),
        "frames": sum(o.frames for o in outcomes),
        "faces": sum(o.faces for o in outcomes),
        "seconds": round(result.seconds, 1),
    }


def rates(result: Result) -> list[dict[str, str | float | None]]:
    """Frames a second of each part: frames over the time spent in it, summed over processes.

    The parts overlap, so the whole run ("overall", start included) is bounded by the slowest part
    of each process and not by their sum.
    """
    frames = sum(o.frames for o in result.outcomes)
    spent = {part: sum(o.seconds.get(part, 0.0) for o in result.outcomes) for part in PARTS}
    spent["overall"] = result.seconds
    return [
        {"part": part, "frames/s": round(frames / seconds, 1) if frames and seconds else None}
        for part, seconds in spent.items()
    ]


def failures(result: Result) -> list[dict[str, str]]:
    """Each video that failed, and why."""
    return [{"video": o.id, "reason": o.reason} for o in result.outcomes if o.status == "failed"]


def print_result(result: Result, out: str, *, as_json: bool) -> None:
    """The closing words, on stdout."""
    failed = failures(result)
    if as_json:
        document: dict[str, Any] = {
            "cache": out,
            **summary(result),
            "rates": {str(row["part"]): row["frames/s"] for row in rates(result)},
            "failures": failed,
            "labels": list(result.labelled),
        }
        click.echo(json.dumps(document, indent=2, default=str))
        return
    show(f"Extracted to {out}", [summary(result)])
    if any(outcome.frames for outcome in result.outcomes):
        show("Speed", rates(result))
    if result.labelled:
        show("Labels", labels_summary(result.labelled))
    if failed:
        show("Failed; the next run tries them again", failed)
