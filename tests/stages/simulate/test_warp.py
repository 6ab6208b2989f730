"""The warp against closed forms: where features go, that nothing folds, that nothing else moves."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.simulate.drives import OPENING_LIMIT, SHOWN_LIMIT, Drives
from stages.simulate.warp import Portrait, expression_map, fields, head, sample, weights

Still = Callable[..., Drives]


def displacement(face: Portrait, drives: Drives) -> Tensor:
    return torch.tensordot(torch.from_numpy(weights(drives)).float(), fields(face), dims=1)


def at(face: Portrait, drives: Drives, point: Tensor) -> Tensor:
    """Displacement (2,) in D at a point of the portrait, in pixels."""
    return sample(displacement(face, drives)[:1], point.reshape(1, 1, 1, 2)).flatten()


def test_a_smile_lifts_and_widens_the_corners_of_the_mouth(face: Portrait, still: Still) -> None:
    for side, corner in ((-1, face.landmarks[3]), (1, face.landmarks[4])):
        moved = at(face, still(valence=1), corner)
        assert moved[0] * side == pytest.approx(0.09, abs=0.03)
        assert moved[1] == pytest.approx(-0.17, abs=0.04)
        assert at(face, still(valence=-1), corner)[1] > 0.1


def test_a_frown_draws_the_inner_brows_in_and_down(face: Portrait, still: Still) -> None:
    inner = face.landmarks[0] + face.unit * torch.tensor([0.22, -0.36])
    frown, smile = at(face, still(valence=-1), inner), at(face, still(valence=1), inner)
    assert frown[0] > 0.03
    assert frown[1] > 0.06
    assert abs(float(smile[1])) < 0.03


def test_arousal_raises_the_brows_and_opens_the_eyes(face: Portrait, still: Still) -> None:
    brow = face.landmarks[1] + face.unit * torch.tensor([0.0, -0.42])
    assert at(face, still(arousal=1), brow)[1] < -0.1
    for lid, way in ((-0.1, -1), (0.1, 1)):
        edge = face.landmarks[1] + face.unit * torch.tensor([0.0, lid])
        assert (
            at(face, still(arousal=1), edge)[1] * way > at(face, still(arousal=-1), edge)[1] * way
        )
        assert at(face, still(blink=1), edge)[1] * way < -0.04


def test_an_open_mouth_drops_the_jaw(face: Portrait, still: Still) -> None:
    middle = (face.landmarks[3] + face.landmarks[4]) / 2
    chin = middle + face.unit * torch.tensor([0.0, 0.36])
    assert at(face, still(opening=1), chin)[1] == pytest.approx(0.20, abs=0.01)


def test_a_displacement_moves_a_feature_where_it_points(face: Portrait) -> None:
    side = face.image.shape[-1]
    dot = torch.zeros(1, 1, side, side)
    dot[0, 0, 50, 70] = 1.0
    shift = torch.zeros(1, 2, side, side)
    shift[:, 0], shift[:, 1] = 8 / face.unit, -3 / face.unit
    steps = torch.arange(side, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    where = expression_map(shift, torch.stack([x, y], dim=-1)[None], face.unit)
    moved = sample(dot, where)[0, 0]
    assert divmod(int(moved.argmax()), side) == (47, 78)


def least_jacobian(face: Portrait, still: Still) -> float:
    """The least area that a pixel is mapped to, over the extremes of everything shown."""
    levels, least = (-SHOWN_LIMIT, 0.0, SHOWN_LIMIT), math.inf
    for v, a, o, b in itertools.product(levels, levels, (0.0, OPENING_LIMIT), (0.0, 1.0)):
        moved = face.unit * displacement(face, still(valence=v, arousal=a, opening=o, blink=b))[0]
        down, right = moved[:, 1:, :-1] - moved[:, :-1, :-1], moved[:, :-1, 1:] - moved[:, :-1, :-1]
        least = min(least, float(((1 - right[0]) * (1 - down[1]) - down[0] * right[1]).min()))
    return least


def test_nothing_folds_at_any_extreme_on_any_face(
    face: Portrait, people: list[Portrait], still: Still
) -> None:
    assert min(least_jacobian(one, still) for one in [face, *people]) > 0


def test_far_from_the_face_nothing_moves(face: Portrait, still: Still) -> None:
    extreme = still(valence=1.2, arousal=1.2, opening=1, blink=1)
    moved = displacement(face, extreme)[0]
    edge = torch.cat([moved[:, 0], moved[:, :, 0], moved[:, :, -1]], dim=1)
    assert edge.abs().max() < 5e-3


def test_weights_are_linear_but_for_the_sides_of_valence(still: Still) -> None:
    happy, sad = weights(still(valence=0.6)), weights(still(valence=-0.6))
    np.testing.assert_allclose(happy, [[0.6, 0.6, 0, 0, 0, 0]])
    np.testing.assert_allclose(sad, [[-0.6, 0, 0.6, 0, 0, 0]])


@pytest.mark.parametrize("size", [80, 81])
def test_a_head_at_rest_is_the_middle_of_the_portrait(still: Still, size: int) -> None:
    where = head(still(), size, 120, 20.0)
    assert where.shape == (1, size, size, 2)
    torch.testing.assert_close(where.mean((0, 1, 2)), torch.tensor([59.5, 59.5]))
    torch.testing.assert_close(where[0, 0, 1] - where[0, 0, 0], torch.tensor([1.0, 0.0]))


def test_the_head_shifts_turns_and_grows_as_its_drives_say(still: Still) -> None:
    moving = still(
        shift=np.array([[0.1, -0.2]]), roll=np.array([math.pi / 2]), zoom=np.array([2.0])
    )
    where = head(moving, 81, 120, 20.0)[0]
    torch.testing.assert_close(where[40 - 4, 40 + 2], torch.tensor([59.5, 59.5]))
    # a quarter turn clockwise: what was to the right of the middle is now below it
    step = where[40 - 4 + 1, 40 + 2] - where[40 - 4, 40 + 2]
    torch.testing.assert_close(step, torch.tensor([0.5, 0.0]), atol=1e-5, rtol=0)


def test_sampling_at_pixel_centres_gives_the_pixels_of_a_picture_that_is_not_square() -> None:
    image = torch.rand(1, 3, 5, 9)
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(9.0), indexing="ij")
    torch.testing.assert_close(sample(image, torch.stack([x, y], dim=-1)[None]), image)
    outside = sample(image, torch.full((1, 1, 1, 2), -40.0))
    torch.testing.assert_close(outside[0, :, 0, 0], image[0, :, 0, 0])
