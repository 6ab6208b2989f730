"""Linear recurrences against a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stages.train.kalman.recurrence import steady, varying


def loop(steps: Tensor, inputs: Tensor) -> Tensor:
    states = [inputs[..., 0, :]]
    for t in range(1, inputs.shape[-2]):
        moved = (steps[..., t, :, :] @ states[-1].unsqueeze(-1)).squeeze(-1)
        states.append(inputs[..., t, :] + moved)
    return torch.stack(states, -2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 4), st.floats(0.1, 1.05))
def test_doubling_is_the_loop_at_any_length(frames: int, n: int, size: float) -> None:
    step, inputs = size * normal(n, n) / n, normal(2, frames, n, seed=1)
    expected = loop(step.expand(frames, n, n), inputs)
    torch.testing.assert_close(steady(step, inputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_steps_may_be_shared_or_not(shared: bool) -> None:
    steps = 0.4 * (normal(25, 3, 3) if shared else normal(2, 25, 3, 3))
    inputs = normal(2, 25, 3, seed=1)
    torch.testing.assert_close(varying(steps, inputs), loop(steps, inputs), rtol=0, atol=1e-12)
    one = steps[..., 0, :, :]
    expected = loop(one.unsqueeze(-3).expand(2, 25, 3, 3), inputs)
    torch.testing.assert_close(steady(one, inputs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (3,), (2, 1)])
def test_gradcheck_of_both(leading: tuple[int, ...]) -> None:
    inputs = normal(2, 3, 7, 2, seed=1).requires_grad_()
    step = (0.5 * normal(*leading, 2, 2)).requires_grad_()
    steps = (0.5 * normal(*leading, 7, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(steady, (step, inputs))
    assert torch.autograd.gradcheck(varying, (steps, inputs))
