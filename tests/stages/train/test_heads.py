"""What every head in the table owes the trainer, whatever it is inside."""

import dataclasses
from typing import Any

import pytest
import torch

from affcache.targets import FIXED
from stages.train.heads import HEADS, Head, Sizes, Windows, head_class
from stages.train.recipe import load

pytestmark = pytest.mark.parametrize("name", sorted(HEADS))


def sizes(name: str) -> Sizes:
    """What a head is told when its own recipe's tasks are learnt."""
    units = tuple(f"AU{unit}" for unit in (6, 10, 12))
    tasks = {**FIXED, "au_intensity": units}
    streams = dict.fromkeys(head_class(name).STREAMS, 24)
    return Sizes(streams, {task: tasks[task] for task in load(name).task.split("+")}, 25.0)


def make(name: str) -> Head:
    torch.manual_seed(0)
    return head_class(name)(sizes(name), load(name).model).eval()


def some_windows(name: str, batch: int = 4, frames: int = 40) -> Windows:
    """Random windows of the tasks of a head's recipe, with gaps and, of several tasks, holes."""
    draw = torch.Generator().manual_seed(5)
    size = sizes(name)
    features = torch.randn(batch, frames, size.features, generator=draw)
    columns = [some_labels(task, batch, frames, draw) for task in size.targets]
    labels, pseudo = (torch.cat(side, dim=-1) for side in zip(*columns, strict=True))
    mask = torch.rand(batch, frames, generator=draw) < 0.8
    if len(size.targets) > 1:
        for task in size.targets:
            lacking = torch.rand(batch, frames, 1, generator=draw) < 0.3
            labels[..., size.columns(task)].masked_fill_(lacking, torch.nan)
        mask &= labels.isfinite().any(-1)
    nowhere = ~mask[..., None]
    return Windows(
        features.masked_fill(nowhere, 0),
        pseudo.masked_fill(nowhere, torch.nan),
        labels.masked_fill(nowhere, torch.nan),
        mask,
    )


def some_labels(
    task: str, batch: int, frames: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and pseudo-labels of a task, as `affcache.targets` has them."""
    if task == "expr":
        scores = torch.randn(2, batch, frames, 7, generator=draw)
        chosen = torch.nn.functional.one_hot(scores[0].argmax(-1), 7)
        return chosen.float(), scores[1].softmax(-1)
    if task == "au":
        chances = torch.rand(2, batch, frames, 12, generator=draw)
        return (chances[0] < 0.4).float(), chances[1]
    width = 2 if task == "va" else 3
    labels, pseudo = torch.rand(2, batch, frames, width, generator=draw) * 2 - 1
    return labels, pseudo


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
    terms = head.loss(some_windows(name), drawn())
    assert all(value.shape == () and value.isfinite() for value in terms.values())
    terms["loss"].backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_its_randomness_is_the_generators(name: str) -> None:
    head, windows = make(name), some_windows(name)
    first, again = head.loss(windows, drawn(3)), head.loss(windows, drawn(3))
    assert first["loss"] == again["loss"]


def test_it_learns_a_batch(name: str) -> None:
    head, windows = make(name).train(), some_windows(name, frames=20)
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
    head, windows = make(name), some_windows(name)
    predicted = head.predict(windows)
    assert predicted.mean.shape == (4, 40, sizes(name).count)
    assert predicted.mean[windows.mask].isfinite().all()
    if predicted.std is not None:
        assert (predicted.std[windows.mask] > 0).all()
    same(head.predict(windows).mean, predicted.mean, rtol=0, atol=0)


def test_it_never_reads_labels_in_testing(name: str) -> None:
    head, windows = make(name), some_windows(name)
    blind = windows._replace(labels=torch.full_like(windows.labels, torch.nan))
    same(head.predict(blind).mean, head.predict(windows).mean, rtol=0, atol=0)


def test_frames_that_do_not_count_have_no_influence(name: str) -> None:
    head, windows = make(name), some_windows(name)
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


def test_a_task_without_any_label_in_a_batch_does_no_harm(name: str) -> None:
    head, windows = make(name), some_windows(name)
    tasks = sizes(name).targets
    for task in tasks if len(tasks) > 1 else ():
        labels = windows.labels.clone()
        labels[..., sizes(name).columns(task)] = torch.nan
        head.zero_grad()
        mask = windows.mask & labels.isfinite().any(-1)
        terms = head.loss(windows._replace(labels=labels, mask=mask), drawn())
        terms["loss"].backward()
        assert all(value.isfinite() for value in terms.values()), task
        assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters()), task


def test_windows_of_a_batch_do_not_see_each_other_in_testing(name: str) -> None:
    head, windows = make(name), some_windows(name)
    alone = head.predict(Windows(*(tensor[1:2] for tensor in windows)))
    same(alone.mean, head.predict(windows).mean[1:2], rtol=1e-4, atol=1e-5)


def test_a_window_without_any_face_does_no_harm(name: str) -> None:
    head, windows = make(name), some_windows(name)
    mask = windows.mask.clone()
    mask[2] = False
    assert head.predict(windows._replace(mask=mask)).mean[0][mask[0]].isfinite().all()
