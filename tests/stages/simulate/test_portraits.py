"""Portraits: a face is where alignment puts it, and the fetched pictures show different people."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from affcache.errors import VideoError
from stages.extract.detect import Detector
from stages.simulate import portraits
from stages.simulate.portraits import MARGIN, PEOPLE, UNIT, Person, align, read_frame
from stages.simulate.videos import encode
from stages.simulate.warp import Portrait

POINTS = np.array([[-0.5, -0.55], [0.5, -0.55], [0, 0], [-0.4, 0.55], [0.4, 0.55]])


@pytest.mark.parametrize("unit", [15.0, 60.0])
@pytest.mark.parametrize("angle", [-0.4, 0.0, 0.3])
def test_a_face_is_turned_upright_and_scaled_about_its_middle(unit: float, angle: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = np.array([210.0, 150.0]) + unit * POINTS @ turn.T
    picture = np.zeros((300, 420, 3), np.uint8)
    aligned = align(picture, landmarks, 100)
    middle = (round(MARGIN * 100) - 1) / 2
    assert aligned.unit == UNIT * 100
    expected = torch.from_numpy(middle + aligned.unit * POINTS).float()
    torch.testing.assert_close(aligned.landmarks, expected, atol=0.15, rtol=0)


@pytest.mark.parametrize("unit", [15.0, 60.0])
def test_the_picture_moves_with_the_landmarks(unit: float) -> None:
    y, x = np.mgrid[:300, :420]
    landmarks = np.array([210.0, 150.0]) + unit * POINTS
    spot = np.exp(-0.5 * ((x - landmarks[1, 0]) ** 2 + (y - landmarks[1, 1]) ** 2) / unit)
    picture = np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)
    aligned = align(picture, landmarks, 100)
    weight = aligned.image[0] / aligned.image[0].sum()
    steps = torch.arange(weight.shape[0], dtype=torch.float32)
    seen = torch.stack([(weight.sum(0) * steps).sum(), (weight.sum(1) * steps).sum()])
    torch.testing.assert_close(seen, aligned.landmarks[1], atol=0.2, rtol=0)


def test_everyone_is_somebody_else_and_in_the_middle_of_the_picture(people: list[Portrait]) -> None:
    assert len(people) == len(PEOPLE) == len(set(PEOPLE)) == 13
    for face in people:
        assert face.image.shape == (3, 240, 240)
        assert float(face.image.std()) > 20
        middle = face.landmarks[[0, 1, 3, 4]].mean(0)
        torch.testing.assert_close(middle, torch.tensor([119.5, 119.5]), atol=0.01, rtol=0)
    for one, other in itertools.combinations(people, 2):
        assert float((one.image - other.image).abs().mean()) > 10


def test_the_detector_finds_every_portrait_where_it_was_put(people: list[Portrait]) -> None:
    pictures = np.stack([f.image.permute(1, 2, 0).clamp(0, 255).byte().numpy() for f in people])
    for seen, face in zip(Detector("cpu").detect(pictures), people, strict=True):
        away = np.linalg.norm(seen.landmarks[0] - face.landmarks.numpy(), axis=1)
        assert away.max() < 0.25 * face.unit


def test_one_frame_of_a_video_is_read_by_its_count(tmp_path: Path) -> None:
    shades = np.arange(5, dtype=np.uint8)[:, None, None, None] * 40
    encode(tmp_path / "x.mp4", [np.broadcast_to(shades, (5, 64, 64, 3)).copy()], 64, 25.0)
    assert read_frame(tmp_path / "x.mp4", 3).mean() == pytest.approx(120, abs=4)
    with pytest.raises(VideoError, match=r"x\.mp4: has no frame 5"):
        read_frame(tmp_path / "x.mp4", 5)


def test_a_file_that_is_no_picture_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    with pytest.raises(VideoError, match=r"x\.jpg: cannot be decoded"):
        read_frame(tmp_path / "x.jpg", 0)


def test_a_picture_without_the_face_that_its_row_says_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path / "x.mp4", [np.full((1, 64, 64, 3), 90, np.uint8)], 64, 25.0)
    monkeypatch.setattr(portraits.assets, "file", lambda _asset, name: tmp_path / name)
    with pytest.raises(VideoError, match=r"frame 0: 0 faces found.*affcache assets fetch some"):
        portraits.portraits([Person(asset="some", filename="x.mp4")], 192)
