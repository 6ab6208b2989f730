"""The detector on real pictures, and on what MTCNN stumbles over."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

from stages.extract.detect import Detector
from stages.extract.track import iou


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.set_num_threads(1)
    return Detector("cpu")


@pytest.fixture(scope="module")
def picture(pyfeat_clips: Path) -> np.ndarray:
    """A frame (360, 640, 3) with one face."""
    with av.open(str(pyfeat_clips / "single_face.mp4")) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_a_batch_that_mixes_faces_and_none_is_in_order(
    detector: Detector, picture: np.ndarray
) -> None:
    blank = np.zeros_like(picture)
    found = detector.detect(np.stack([blank, picture, blank, picture]))
    assert [len(faces.box) for faces in found] == [0, 1, 0, 1]
    assert np.allclose(found[1].box, found[3].box)
    assert found[1].landmarks.shape == (1, 5, 2)
    assert found[1].score[0] > 0.99


def test_boxes_and_landmarks_are_in_pixels_of_the_source(
    detector: Detector, picture: np.ndarray
) -> None:
    (faces,) = detector.detect(picture[None])
    boxes, _, points = MTCNN(thresholds=[0.6, 0.7, 0.7]).detect(picture[None], landmarks=True)
    full = np.asarray(boxes[0], np.float32)
    assert iou(full, faces.box[0]).max() > 0.8
    eyes = faces.landmarks[0, :2]
    assert eyes[0, 0] < eyes[1, 0], "the first is the left one as seen in the image"
    side = full[0, 2] - full[0, 0]
    assert np.abs(np.asarray(points[0], np.float32)[0] - faces.landmarks[0]).max() < 0.1 * side


def test_the_largest_face_comes_first(detector: Detector, pyfeat_clips: Path) -> None:
    with av.open(str(pyfeat_clips / "multi_face.jpg")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    (faces,) = detector.detect(image[None])
    areas = (faces.box[:, 2:] - faces.box[:, :2]).prod(axis=1)
    assert len(areas) >= 4
    assert (np.diff(areas) <= 0).all()


@pytest.mark.parametrize(
    "shape", [(0, 90, 120, 3), (2, 8, 8, 3), (1, 10, 2000, 3), (2, 90, 120, 3)]
)
def test_no_frames_and_frames_too_small_for_a_face_have_none(
    detector: Detector, shape: tuple[int, ...]
) -> None:
    found = detector.detect(np.zeros(shape, np.uint8))
    assert [len(faces.box) for faces in found] == [0] * shape[0]


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 3, 64, 64), np.uint8)]
)
def test_floats_and_planes_are_refused_and_not_silently_empty(
    detector: Detector, frames: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, height, width, 3\) uint8"):
        detector.detect(frames)
