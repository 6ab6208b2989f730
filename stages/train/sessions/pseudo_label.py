"""What stands behind `affcache pseudo-label`: options in, pseudo-labels and a table out."""

from __future__ import annotations

from pathlib import Path

from affcache.progress import say
from affcache.store import Cache
from affcache.table import show
from stages.train.device import choose
from stages.train.pseudolabels import check_name, from_rules, from_teacher, store
from stages.train.run import open_run


def run_command(
    cache_path: Path,
    run: Path | None,
    threshold: float,
    min_support: int,
    min_confidence: float,
    name: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Make a set from a run or, without one, from rules; store it and print its table."""
    cache = Cache(cache_path)
    called = name or ("rules" if run is None else "teacher")
    check_name(cache, called)
    if run is None:
        made = from_rules(cache, min_support, min_confidence)
    else:
        made = from_teacher(open_run(run), cache, threshold, choose(device))
    store(cache, called, made)
    show(f"{cache.path}: pseudo/{called}", made.table, as_json=as_json)
    if not any(row["sure"] for row in made.table):
        say("sure of no frame: lower --threshold, or train the run for longer")
        return
    say(f"use them: affcache train --cache {cache.path} --fill {called}")
