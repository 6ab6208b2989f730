"""What strangers named, said to people: nothing in it can steer a terminal or break a line."""


def printable(text: object) -> str:
    r"""A text on one line, with a mark in place of everything that would not be shown.

    >>> printable("p01\x1b[2J\n") == "p01\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    True
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
