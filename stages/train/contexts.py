"""Heads that choose the frames they take their context from (paper 000, section 3.2.2)."""

from __future__ import annotations

from affcache.errors import RunError
from stages.train.heads import Head
from stages.train.heads.ap import AffectiveProcess


def choosing(head: Head, name: str) -> AffectiveProcess:
    """A head as one that chooses its context.

    Raises
    ------
    RunError
        If it does not.
    """
    if not isinstance(head, AffectiveProcess):
        raise RunError(f"the head {name!r} chooses no context frames; Affective Processes (ap) do")
    return head


def choose(head: Head, name: str, context: str | None) -> None:
    """Let a head choose as "lowest:40", "random:10" or "all" says; None leaves it as it is."""
    if context is not None:
        choosing(head, name).use_context(context)
