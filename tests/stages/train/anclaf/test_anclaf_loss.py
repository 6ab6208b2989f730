"""The affect loss of paper 001 against the metrics, by hand, and by finite differences."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from affcache import metrics
from stages.train.anclaf.affect import (
    CLASSES,
    TERMS,
    affect_loss,
    class_weights,
    classes,
    coefficients,
    frame_weights,
    instances,
)

FLAT = torch.ones(2, CLASSES, dtype=torch.float64)


def some_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Labels with gaps, predictions and a mask: 3 windows, 20 frames, 2 targets."""
    draw = torch.Generator().manual_seed(4)
    truth, noise = torch.rand(2, 3, 20, 2, generator=draw, dtype=torch.float64) * 2 - 1
    missing = torch.rand(3, 20, 2, generator=draw) < 0.2
    return (
        truth.masked_fill(missing, torch.nan),
        0.5 * truth + 0.3 * noise + 0.1,
        torch.rand(3, 20, generator=draw) < 0.7,
    )


def some_table() -> Tensor:
    return torch.rand(2, CLASSES, generator=torch.Generator().manual_seed(9)).double() + 0.2


def test_without_weights_the_terms_are_the_metrics() -> None:
    truth, said, mask = some_batch()
    terms = affect_loss(truth, said, mask, FLAT)
    expected: dict[str, list[float]] = {name: [] for name in TERMS}
    for d in range(2):
        here = mask & truth[..., d].isfinite()
        y, p = truth[..., d][here].numpy(), said[..., d][here].numpy()
        expected["rmse"].append(metrics.rmse(y, p))
        expected["cor"].append(1 - metrics.pcc(y, p))
        expected["ccc"].append(1 - metrics.ccc(y, p))
        expected["icc"].append(1 - 2 * np.cov(y, p, ddof=0)[0, 1] / (y.var() + p.var()))
    for name in TERMS:
        assert terms[name].item() == pytest.approx(np.mean(expected[name]), abs=2e-4)
    assert terms["loss"].item() == pytest.approx(sum(terms[name].item() for name in TERMS))


def test_the_intraclass_correlation_is_that_of_the_metrics() -> None:
    truth, said, _ = some_batch()
    y, p = truth[..., 0].flatten().nan_to_num()[:, None], said[..., 0].flatten()[:, None]
    found = coefficients(y, p, torch.ones_like(y))["icc"]
    expected = metrics.icc(y[:, 0].numpy(), p[:, 0].numpy())
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_weighted_moments_by_hand() -> None:
    """Weight 2 is the same as being there twice: y = -1, 1, 1 against p = 0, 1, 1."""
    y, p, weight = (torch.tensor(row).double()[:, None] for row in ([-1, 1], [0, 1], [1, 2]))
    found = {name: value.item() for name, value in coefficients(y, p, weight).items()}
    # means 1/3 and 2/3; variances 8/9 and 2/9; covariance 4/9
    assert found["rmse"] == pytest.approx((1 / 3) ** 0.5, abs=2e-4)
    assert found["cor"] == pytest.approx(1.0, abs=1e-6)
    assert found["ccc"] == pytest.approx((8 / 9) / (10 / 9 + 1 / 9), abs=1e-6)
    assert found["icc"] == pytest.approx((8 / 9) / (10 / 9), abs=1e-6)


def test_the_printed_numerator_is_zero_whatever_the_series() -> None:
    truth, said, _ = some_batch()
    y, p = truth.nan_to_num().flatten(), said.flatten()
    assert ((p - p.mean()) - (y - y.mean())).mean().abs() < 1e-12


def test_a_series_agrees_with_itself_whatever_the_weights() -> None:
    truth, _, mask = some_batch()
    terms = affect_loss(truth, truth.nan_to_num(), mask, some_table())
    assert all(value.abs() < 1e-6 for value in terms.values())


def test_ten_classes_of_equal_width() -> None:
    edges = torch.tensor([-1.0, -0.81, -0.79, -1e-4, 0.0, 0.19, 0.99, 1.0])
    assert classes(edges).tolist() == [0, 0, 1, 4, 5, 5, 9, 9]


def test_instances_are_counted_per_target_and_nan_is_none() -> None:
    labels = torch.tensor([[-0.95, 0.05], [-0.9, torch.nan], [0.3, 0.1]])
    counts = instances(labels)
    assert counts[0].tolist() == [2, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert counts[1].tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 0]


def test_inverse_weights_are_the_balanced_ones_of_scikit_learn() -> None:
    labels = torch.from_numpy(np.random.default_rng(1).normal(0.1, 0.2, (500, 2)).clip(-1, 1))
    table = class_weights(instances(labels), "inverse", 1e9)
    for d in range(2):
        which = classes(labels[:, d]).numpy()
        there = np.unique(which)
        expected = compute_class_weight("balanced", classes=there, y=which)
        np.testing.assert_allclose(table[d, there], expected, rtol=1e-9)


@pytest.mark.parametrize("rule", ["inverse", "printed", "none"])
def test_weights_are_one_on_average(rule: str) -> None:
    counts = torch.tensor([[500.0, 300, 3, 0, 0, 0, 0, 0, 0, 197], [0.0] * 10]).double()
    table = class_weights(counts, rule, 10.0)
    assert (table[0] * counts[0]).sum() / counts[0].sum() == pytest.approx(1)
    assert table[1].tolist() == [1] * 10
    frequent, rare = table[0, 0], table[0, 2]
    assert {"inverse": rare > frequent, "printed": rare < frequent, "none": rare == frequent}[rule]


def test_a_class_of_three_frames_is_not_worth_as_much_as_one_of_thousands() -> None:
    counts = torch.tensor([[9000.0, 3, 997, 0, 0, 0, 0, 0, 0, 0]]).double()
    free = class_weights(counts, "inverse", 1e9)
    assert free[0, 1] > 1000
    assert class_weights(counts, "inverse", 10.0)[0, 1] / free[0, 1] < 0.02


def test_each_target_has_its_own_weights() -> None:
    truth = torch.tensor([[[-0.95, 0.95], [0.95, -0.95]]])
    table = torch.zeros(2, CLASSES)
    table[0, 0], table[0, 9], table[1, 0], table[1, 9] = 1.0, 2.0, 3.0, 4.0
    assert frame_weights(truth, table).tolist() == [[[1.0, 4.0], [2.0, 3.0]]]
    truth, said, mask = some_batch()
    table = some_table()
    before = affect_loss(truth[..., :1], said[..., :1], mask, table[:1])["loss"]
    other = torch.cat([table[:1], 7 * table[1:].flip(1)])
    both = affect_loss(truth, said, mask, other)["loss"]
    arousal = affect_loss(truth[..., 1:], said[..., 1:], mask, other[1:])["loss"]
    torch.testing.assert_close(both, (before + arousal) / 2)


def test_gradients_are_right() -> None:
    truth, said, mask = some_batch()

    def loss(values: Tensor) -> Tensor:
        return affect_loss(truth, values, mask, some_table())["loss"]

    assert torch.autograd.gradcheck(loss, said.requires_grad_(), atol=1e-6)


def test_what_does_not_count_has_no_influence_and_no_gradient() -> None:
    truth, said, mask = some_batch()
    nowhere = ~(mask.unsqueeze(-1) & truth.isfinite())
    spoilt = said.masked_fill(nowhere, torch.nan).requires_grad_()
    lost = affect_loss(truth.masked_fill(nowhere, torch.nan), spoilt, mask, some_table())["loss"]
    assert lost == affect_loss(truth, said, mask, some_table())["loss"]
    (gradient,) = torch.autograd.grad(lost, spoilt)
    assert (gradient[nowhere] == 0).all()


@pytest.mark.parametrize("frames", [0, 1])
def test_too_few_frames_contribute_exactly_nothing(frames: int) -> None:
    truth, said, mask = some_batch()
    mask = torch.zeros_like(mask)
    mask[0, :frames] = True
    truth = truth.nan_to_num()
    loss = affect_loss(truth, said.requires_grad_(), mask, FLAT)["loss"]
    assert loss == 0
    (gradient,) = torch.autograd.grad(loss, said)
    assert (gradient == 0).all()


def test_constant_labels_and_constant_predictions_have_finite_gradients() -> None:
    truth = torch.full((1, 5, 2), 0.3).double()
    said = torch.full((1, 5, 2), 0.1, dtype=torch.float64, requires_grad=True)
    affect_loss(truth, said, torch.ones(1, 5, dtype=torch.bool), FLAT)["loss"].backward()
    assert said.grad is not None
    assert said.grad.isfinite().all()
