"""Which of a frame's faces is this row's: the largest with continuity, the left or the right one.

A pure step from (what was followed, what was found) to (what is followed, which face it is).

Convention: left and right are as seen in the image; boxes are x0, y0, x1, y1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

FACES = ("largest", "left", "right")
# A track that was not seen for this many frames is forgotten: about half a second.
PATIENCE = 15
# The same person in the next frame overlaps at least this much with where they were.
SAME = 0.3
# Another face takes a track over only when it is this much larger in area than the followed one.
TAKEOVER = 2.0
# Beside the largest face, smaller ones than this part of its area are background.
BACKGROUND = 0.2


class Track(NamedTuple):
    """What is being followed: its last box (4,), or None, and frames since it was seen."""

    box: np.ndarray | None = None
    unseen: int = 0


def step(track: Track, boxes: np.ndarray, face: str, width: int) -> tuple[Track, int | None]:
    """Choose this frame's face.

    Parameters
    ----------
    track : what the earlier frames left
    boxes : (k, 4) faces of this frame in pixels; k may be 0
    face : "largest", "left" or "right"
    width : of the frame in pixels

    Returns
    -------
    The track for the next frame, and the index of the chosen box, or None.
    """
    chosen = _choose(track, boxes, face, width) if len(boxes) else None
    if chosen is not None:
        return Track(boxes[chosen]), chosen
    if track.box is None or track.unseen + 1 > PATIENCE:
        return Track(), None
    return Track(track.box, track.unseen + 1), None


def _choose(track: Track, boxes: np.ndarray, face: str, width: int) -> int | None:
    if face == "largest":
        return _largest(track, boxes)
    if face not in FACES:
        raise ValueError(f"face {face!r} is none of {', '.join(FACES)}")
    return _side(track, boxes, face, width)


def _largest(track: Track, boxes: np.ndarray) -> int:
    """The followed face while it is there and no other is much larger, else the largest."""
    areas = area(boxes)
    largest = int(areas.argmax())
    if track.box is None:
        return largest
    overlap = iou(boxes, track.box)
    followed = int(overlap.argmax())
    if overlap[followed] < SAME or areas[largest] > TAKEOVER * areas[followed]:
        return largest
    return followed


def _side(track: Track, boxes: np.ndarray, face: str, width: int) -> int | None:
    """The outermost face; one alone only if it goes on with the track or lies on that side."""
    areas = area(boxes)
    near = np.flatnonzero(areas >= BACKGROUND * areas.max())
    middles = boxes[near, 0::2].mean(axis=1)
    outermost = int(near[middles.argmin() if face == "left" else middles.argmax()])
    if len(near) > 1:
        return outermost
    if track.box is not None:
        goes_on = iou(boxes[[outermost]], track.box)[0] >= SAME
    else:
        goes_on = (middles[0] < width / 2) == (face == "left")
    return outermost if goes_on else None


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas (k,) of boxes (k, 4) in square pixels; 0 for inverted ones."""
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))


def iou(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union (k,) in [0, 1] of boxes (k, 4) with one box (4,)."""
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, 2:], box[2:])
    inside = np.clip(high - low, 0, None).prod(axis=1)
    union = area(boxes) + area(box[None]) - inside
    shares: np.ndarray = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return shares


def identity() -> dict[str, Any]:
    """What decides a choice, for a cache's fingerprint."""
    return {"patience": PATIENCE, "same": SAME, "takeover": TAKEOVER, "background": BACKGROUND}
