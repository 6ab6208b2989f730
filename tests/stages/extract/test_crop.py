"""Crops against what they must be."""

import numpy as np
import torch
from torch.nn import functional as F

from stages.extract.crop import crop, crops


def ramp(height: int, width: int) -> torch.Tensor:
    """Red is the column, green the row, blue 7."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y, torch.full_like(x, 7)], dim=-1).to(torch.uint8)


def test_a_crop_of_whole_pixels_is_those_pixels() -> None:
    frame = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8)
    face = crop(frame, torch.tensor([5.0, 7.0, 21.0, 23.0]), 16, margin=0.0)
    assert torch.allclose(face, frame[7:23, 5:21].permute(2, 0, 1).float())


def test_a_large_face_is_averaged_and_not_picked_at() -> None:
    frame = torch.randint(0, 256, (80, 80, 3), dtype=torch.uint8)
    face = crop(frame, torch.tensor([8.0, 8.0, 72.0, 72.0]), 16, margin=0.0)
    blocks = F.avg_pool2d(frame[8:72, 8:72].permute(2, 0, 1).float()[None], 4)[0]
    assert torch.allclose(face, blocks, atol=1e-3)


def test_a_box_between_pixels_is_sampled_between_pixels() -> None:
    face = crop(ramp(60, 60), torch.tensor([10.25, 20.5, 26.25, 36.5]), 16, margin=0.0)
    columns = np.arange(16) + 10.25
    assert np.allclose(face[0, 3].numpy(), columns, atol=1e-4)
    assert np.allclose(face[1, :, 3].numpy(), np.arange(16) + 20.5, atol=1e-4)


def test_the_margin_is_a_fraction_of_each_side() -> None:
    frame = ramp(100, 100)
    with_margin = crop(frame, torch.tensor([20.0, 30.0, 60.0, 50.0]), 8, margin=0.1)
    by_hand = crop(frame, torch.tensor([16.0, 28.0, 64.0, 52.0]), 8, margin=0.0)
    assert torch.allclose(with_margin, by_hand, atol=1e-3)


def test_beyond_the_frame_its_last_pixels_go_on() -> None:
    face = crop(ramp(30, 30), torch.tensor([-8.0, 0.0, 8.0, 16.0]), 16, margin=0.0)
    assert torch.allclose(face[0, 0, :8], torch.zeros(8), atol=1e-4)
    assert torch.allclose(face[2], torch.full((16, 16), 7.0))


def test_a_box_without_area_still_gives_a_face() -> None:
    assert torch.isfinite(crop(ramp(30, 30), torch.tensor([5.0, 5.0, 5.0, 5.0]), 8)).all()


def test_crops_come_from_their_own_rows() -> None:
    frames = torch.stack([torch.full((30, 30, 3), v, dtype=torch.uint8) for v in (1, 2, 3)])
    found = crops(frames, torch.tensor([[2.0, 2, 20, 20], [4.0, 4, 9, 9]]), [2, 0], 8)
    assert found.mean(dim=(1, 2, 3)).tolist() == [3.0, 1.0]
