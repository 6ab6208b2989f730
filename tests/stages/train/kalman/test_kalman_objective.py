"""Derivatives of labels and their errors: by hand, by numpy, by gradcheck."""

import numpy as np
import pytest
import torch

from stages.train.kalman.objective import Derivatives, derivative_error, derivatives, rmse


def every(labels: torch.Tensor) -> torch.Tensor:
    return labels.isfinite()


@pytest.mark.parametrize("step", [1, 4])
def test_a_parabola_has_its_derivatives_in_units_of_the_step(step: int) -> None:
    t = torch.arange(30.0) / step
    labels = (0.5 + 0.3 * t + 0.1 * t**2).reshape(1, 30, 1)
    found = derivatives(labels, every(labels), step)
    inner = slice(step, -step)
    assert found.known[0, :, 0].tolist() == [step <= k < 30 - step for k in range(30)]
    torch.testing.assert_close(found.first[0, inner, 0], 0.3 + 0.2 * t[inner])
    torch.testing.assert_close(
        found.second[0, inner, 0], torch.full((30 - 2 * step,), 0.2), atol=1e-5, rtol=0
    )


def test_a_derivative_is_known_where_all_three_labels_are() -> None:
    labels = torch.zeros(1, 9, 1)
    labels[0, 4] = torch.nan
    known = derivatives(labels, every(labels), 2).known[0, :, 0]
    assert known.tolist() == [False, False, False, True, False, True, False, False, False]


def test_windows_shorter_than_the_step_have_no_derivative() -> None:
    labels = torch.rand(2, 4, 1)
    found = derivatives(labels, every(labels), 2)
    assert not found.known.any()
    said = torch.zeros(2, 4, 1, requires_grad=True)
    error = derivative_error(found, said, said)
    error.backward()
    assert error == 0
    assert said.grad is not None
    assert (said.grad == 0).all()


def test_rmse_is_numpys_per_target_over_the_frames_that_count() -> None:
    draw = np.random.default_rng(0)
    y, p = draw.normal(size=(2, 3, 20, 2))
    counts = draw.random((3, 20, 2)) < 0.5
    found = rmse(*map(torch.from_numpy, (y, p, counts)))
    for k in range(2):
        own = counts[..., k]
        expected = np.sqrt(np.mean((y[..., k][own] - p[..., k][own]) ** 2))
        assert float(found[k]) == pytest.approx(expected)


def test_predictions_that_do_not_count_have_no_influence_whatever_they_are() -> None:
    labels = torch.rand(1, 12, 2, dtype=torch.float64)
    labels[0, 6:] = torch.nan
    truth = derivatives(labels, every(labels), 1)
    said = torch.rand(1, 12, 2, dtype=torch.float64)
    other = said.masked_fill(~truth.known, torch.nan).requires_grad_()
    error = derivative_error(truth, other, other)
    error.backward()
    assert error == derivative_error(truth, said, said)
    assert other.grad is not None
    assert (other.grad[~truth.known] == 0).all()


def test_gradcheck() -> None:
    truth = Derivatives(*torch.rand(2, 2, 6, 2, dtype=torch.float64), torch.rand(2, 6, 2) < 0.7)
    said = [torch.rand(2, 6, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: derivative_error(truth, a, b), said)
