"""What has to move between two caches, decided from what their seals say and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affcache import notes
from affcache.errors import RemoteError
from affcache.progress import readable_bytes

NAMED = 8
Chosen = Callable[[str], bool]


def everything(group: str) -> bool:
    """The choice of all groups."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How groups are moved, whichever way they go.

    Attributes
    ----------
    jobs : groups on their way at the same time; None takes what suits the kind of place
    force : replace groups that have other content where they go
    dry_run : only say what would move; nothing is written
    chosen : which groups to look at
    """

    jobs: int | None = None
    force: bool = False
    dry_run: bool = False
    chosen: Chosen = everything


ORDINARY = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One group that goes over.

    Attributes
    ----------
    group : such as "videos/v1"
    files : what it consists of, by their names in the cache
    replaces : whether there is other content under the same name
    """

    group: str
    files: notes.Files
    replaces: bool = False

    @property
    def bytes(self) -> int:
        """Its size."""
        return sum(entry.size for entry in self.files.values())

    def row(self) -> dict[str, Any]:
        """The move as a table's row."""
        action = "replace" if self.replaces else "new"
        return {
            "group": self.group,
            "action": action,
            "files": len(self.files),
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a push or a pull did, or with `dry_run` would do.

    Attributes
    ----------
    moves : the groups that went over, in the order of their names
    unchanged : groups that were the same on both sides
    seconds : of wall time
    """

    moves: tuple[Move, ...]
    unchanged: tuple[str, ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """What went over."""
        return sum(move.bytes for move in self.moves)

    def rows(self) -> list[dict[str, Any]]:
        """How many groups of each kind moved, and how many bytes."""
        kinds = ("videos", "labels", "pseudo")
        return [
            {
                "kind": kind,
                "moved": sum(_is_leaf(m.group, kind) for m in self.moves),
                "unchanged": sum(_is_leaf(group, kind) for group in self.unchanged),
                "bytes": sum(m.bytes for m in self.moves if m.group.split("/")[0] == kind),
            }
            for kind in kinds
        ]

    def line(self, done: str) -> str:
        """The outcome in a sentence's half."""
        rate = readable_bytes(self.bytes / max(self.seconds, 1e-9))
        moved = f"{len(self.moves)} groups, {readable_bytes(self.bytes)}"
        return f"{done} {moved} in {self.seconds:.1f} s ({rate}/s); {len(self.unchanged)} unchanged"


def compare(
    source: Mapping[str, set[str]],
    target: Mapping[str, set[str]],
    files: Callable[[str], notes.Files],
    chosen: Chosen,
) -> tuple[tuple[Move, ...], tuple[str, ...]]:
    """The groups that have to move, and those that need not, each in the order of their names.

    The folders `videos`, `labels` and `pseudo` themselves say nothing, so any will do. A set of
    pseudo-labels of another model goes as a whole: rows of one are not rows of another.
    """
    moves: list[Move] = []
    unchanged: list[str] = []
    anew: set[str] = set()
    for group in sorted(source.keys() - {""}):
        there = target.get(group, set())
        if not chosen(group):
            continue
        parent = group.rpartition("/")[0]
        if (there == source[group] or (there and group in notes.FOLDERS)) and parent not in anew:
            unchanged.append(group)
        else:
            anew |= {group} if there and notes.is_folder(group) else set()
            moves.append(Move(group=group, files=files(group), replaces=bool(there)))
    return tuple(moves), tuple(unchanged)


def refuse_replacing(moves: Sequence[Move], who: str, *, force: bool) -> None:
    """Without `force`, nothing is replaced: the message lists what would be."""
    groups = [move.group for move in moves if move.replaces]
    if groups and not force:
        some = ", ".join(groups[:NAMED]) + (", ..." if len(groups) > NAMED else "")
        raise RemoteError(
            f"{who} other content under {len(groups)} of these names: {some}; nothing was moved. "
            "Look at both, then --force replaces them, or move the others with --only"
        )


def _is_leaf(group: str, kind: str) -> bool:
    return group.split("/")[0] == kind and not notes.is_folder(group)
