"""What the camera adds, each part against its definition."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch

from stages.simulate.camera import BATCH, blur, cover, film, light
from stages.simulate.drives import Drives, Habits, draw
from stages.simulate.warp import Portrait

Still = Callable[..., Drives]
SIZE = 80


def shoot(face: Portrait, drives: Drives, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(film(face, drives, SIZE, noise, np.random.default_rng(seed))))


def test_a_face_at_rest_is_the_middle_of_its_portrait(face: Portrait, still: Still) -> None:
    picture = shoot(face, still())[0]
    middle = face.image[:, 20:100, 20:100].permute(1, 2, 0).round()
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture - middle.numpy()).max() <= 1


def test_batches_join_to_one_row_per_frame(face: Portrait) -> None:
    drives = draw(np.random.default_rng(0), 2 * BATCH + 1, 25.0, Habits())
    batches = [len(b) for b in film(face, drives, SIZE, 8.0, np.random.default_rng(0))]
    assert batches == [BATCH, BATCH, 1]


def test_a_frame_is_the_same_whatever_comes_before_it(face: Portrait) -> None:
    drives = draw(np.random.default_rng(0), 7, 25.0, Habits(blur_most=0.0))
    whole = shoot(face, drives)
    last = Drives(*(rows if np.isscalar(rows) else rows[-1:] for rows in drives))
    np.testing.assert_array_equal(whole[-1:], shoot(face, last))


def test_the_same_seed_gives_the_same_pixels_and_another_other_noise(
    face: Portrait, still: Still
) -> None:
    one, same, other = (shoot(face, still(3), 8.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one[0] != one[1]).any()


def test_sensor_noise_has_its_standard_deviation(face: Portrait, still: Still) -> None:
    clean, noisy = shoot(face, still(20)).astype(float), shoot(face, still(20), 8.0).astype(float)
    assert np.std(noisy - clean) == pytest.approx(8.0, rel=0.02)
    assert np.mean(noisy - clean) == pytest.approx(0.0, abs=0.05)


def test_a_covered_frame_hides_the_face_and_only_that_frame(face: Portrait, still: Still) -> None:
    covered = np.array([False, True, False])
    pictures = shoot(face, still(3, covered=covered)).astype(float)
    np.testing.assert_array_equal(pictures[0], pictures[2])
    inner = pictures[1, 28:52, 28:52].reshape(-1, 3)
    assert np.ptp(inner, axis=0).max() <= 1
    np.testing.assert_array_equal(pictures[1, :, :4], pictures[0, :, :4])


def test_a_cover_follows_the_head() -> None:
    blank = torch.zeros(1, 3, 81, 81)
    covered = cover(blank, torch.tensor([[0.5, -0.25]]), 10.0, torch.tensor([50.0, 60.0, 70.0]))
    weight = covered[0, 0] / covered[0, 0].sum()
    steps = torch.arange(81.0) - 40
    assert float((weight.sum(0) * steps).sum()) == pytest.approx(5.0, abs=0.05)
    assert float((weight.sum(1) * steps).sum()) == pytest.approx(-2.5, abs=0.05)


def test_light_is_a_factor_and_a_slope() -> None:
    grey = torch.full((2, 3, 11, 11), 100.0)
    lit = light(grey, torch.tensor([1.0, 1.5]), torch.tensor([[0.2, 0.0], [0.0, -0.1]]))
    torch.testing.assert_close(lit[0, 0, :, 0], torch.full((11,), 80.0))
    torch.testing.assert_close(lit[0, 0, :, -1], torch.full((11,), 120.0))
    assert float(lit[1, 2, 0, 5]) == pytest.approx(150 * 1.1)
    assert float(lit[1, 2, 5, 5]) == pytest.approx(150.0)


def test_blur_is_scipys_gaussian() -> None:
    pictures = torch.rand(2, 3, 20, 24)
    expected = scipy.ndimage.gaussian_filter(
        pictures.numpy(), 0.9, axes=(2, 3), mode="nearest", radius=3
    )
    np.testing.assert_allclose(blur(pictures, 0.9), expected, atol=1e-5)
    assert blur(pictures, 0.0) is pictures
