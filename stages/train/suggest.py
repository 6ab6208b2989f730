"""What a misspelt name may have meant: the tail of every "there is no such ..." message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known(kind: str, wrong: str, names: Iterable[str]) -> str:
    """The names there are, led by the one that was probably meant.

    >>> known("head", "app", ["ap", "gru"])
    "did you mean 'ap'? known heads: ap, gru"
    """
    listed = sorted(names)
    close = difflib.get_close_matches(wrong, listed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known {kind}s: {', '.join(listed) or 'none'}"
