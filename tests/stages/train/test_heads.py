"""What every head in the table owes the trainer, whatever it is inside."""

import dataclasses
from typing import Any

import pytest
import torch

from stages.train.heads import HEADS, Head, Sizes, Windows, head_class
from stages.train.recipe import load

pytestmark = pytest.mark.parametrize("name", sorted(HEADS))


def make(name: str) -> Head:
    torch.manual_seed(0)
    return head_class(name)(Sizes(24, 2), load(name).model).eval()


def some_windows(batch: int = 4, frames: int = 40) -> Windows:
    draw = torch.Generator().manual_seed(5)
    features = torch.randn(batch, frames, 24, generator=draw)
    labels, pseudo = torch.rand(2, batch, frames, 2, generator=draw) * 2 - 1
    mask = torch.rand(batch, frames, generator=draw) < 0.8
    nowhere = ~mask[..., None]
    return Windows(
        features.masked_fill(nowhere, 0),
        pseudo.masked_fill(nowhere, torch.nan),
        labels.masked_fill(nowhere, torch.nan),
        mask,
    )


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: torch.Tensor, b: torch.Tensor, **tolerance: Any) -> None:
    torch.testing.assert_close(a, b, equal_nan=True, **tolerance)


def test_its_settings_are_frozen_and_its_recipe_is_named_like_it(name: str) -> None:
    settings = head_class(name).Settings
    assert dataclasses.is_dataclass(settings)
    model = load(name).model
    assert isinstance(model, settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, dataclasses.fields(model)[0].name, None)


def test_its_loss_is_a_finite_scalar_that_reaches_every_parameter(name: str) -> None:
    head = make(name)
    terms = head.loss(some_windows(), drawn())
    assert all(value.shape == () and value.isfinite() for value in terms.values())
    terms["loss"].backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_its_randomness_is_the_generators(name: str) -> None:
    head, windows = make(name), some_windows()
    first, again = head.loss(windows, drawn(3)), head.loss(windows, drawn(3))
    assert first["loss"] == again["loss"]


def test_it_learns_a_batch(name: str) -> None:
    head, windows = make(name).train(), some_windows()
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    values = []
    for k in range(60):
        optimiser.zero_grad()
        loss = head.loss(windows, drawn(k))["loss"]
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert sum(values[-5:]) < sum(values[:5])


def test_it_predicts_every_frame_that_has_a_face(name: str) -> None:
    head, windows = make(name), some_windows()
    predicted = head.predict(windows)
    assert predicted.mean.shape == (4, 40, 2)
    assert predicted.mean[windows.mask].isfinite().all()
    if predicted.std is not None:
        assert (predicted.std[windows.mask] > 0).all()
    same(head.predict(windows).mean, predicted.mean, rtol=0, atol=0)


def test_it_never_reads_labels_in_testing(name: str) -> None:
    head, windows = make(name), some_windows()
    blind = windows._replace(labels=torch.full_like(windows.labels, torch.nan))
    same(head.predict(blind).mean, head.predict(windows).mean, rtol=0, atol=0)


def test_frames_that_do_not_count_have_no_influence(name: str) -> None:
    head, windows = make(name), some_windows()
    nowhere = ~windows.mask[..., None]
    other = Windows(
        windows.features.masked_fill(nowhere, 9.0),
        windows.pseudo.masked_fill(nowhere, -7.0),
        windows.labels.masked_fill(nowhere, 5.0),
        windows.mask,
    )
    same(head.loss(other, drawn())["loss"], head.loss(windows, drawn())["loss"])
    here = windows.mask
    same(head.predict(other).mean[here], head.predict(windows).mean[here])


def test_windows_of_a_batch_do_not_see_each_other_in_testing(name: str) -> None:
    head, windows = make(name), some_windows()
    alone = head.predict(Windows(*(tensor[1:2] for tensor in windows)))
    same(alone.mean, head.predict(windows).mean[1:2], rtol=1e-4, atol=1e-5)


def test_a_window_without_any_face_does_no_harm(name: str) -> None:
    head, windows = make(name), some_windows()
    mask = windows.mask.clone()
    mask[2] = False
    assert head.predict(windows._replace(mask=mask)).mean[0][mask[0]].isfinite().all()
