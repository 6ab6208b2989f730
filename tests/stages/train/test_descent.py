"""Loss and gradient: eager, in lower precision, compiled and as graphs, all of the same batch."""

import pytest
import torch
from torch import Tensor

from affcache.errors import RecipeError
from stages.train.descent import Descent, Terms, descent
from stages.train.heads import Head, Sizes, Windows, head_class
from stages.train.recipe import load

CPU = torch.device("cpu")
SIZES = Sizes({"features": 24}, {"va": ("valence", "arousal")}, 25.0)


@pytest.fixture
def head() -> Head:
    torch.manual_seed(0)
    return head_class("ap")(SIZES, load("ap").model).train()


@pytest.fixture
def windows() -> Windows:
    draw = torch.Generator().manual_seed(5)
    labels, pseudo = torch.rand(2, 6, 40, 2, generator=draw) * 2 - 1
    features = torch.randn(6, 40, 24, generator=draw)
    return Windows(features, pseudo, labels, torch.ones(6, 40) > 0)


def by(head: Head, device: torch.device, *changes: str) -> Descent:
    return descent(head, load("ap", None, changes).training, device)


def gradients(head: Head, compute: Descent, windows: Windows) -> tuple[Terms, Tensor]:
    generator = torch.default_generator.manual_seed(3)
    terms = compute(windows, generator)
    return terms, torch.cat([p.grad.flatten() for p in head.parameters()])


def test_terms_have_no_graph_and_gradients_do_not_add_up(head: Head, windows: Windows) -> None:
    compute = by(head, CPU)
    terms, once = gradients(head, compute, windows)
    assert not any(value.requires_grad for value in terms.values())
    assert torch.equal(gradients(head, compute, windows)[1], once)


def test_bfloat16_gives_nearly_the_gradient_and_keeps_weights_as_they_are(
    head: Head, windows: Windows
) -> None:
    exact = gradients(head, by(head, CPU), windows)
    coarse = gradients(head, by(head, CPU, "training.precision=bfloat16"), windows)
    assert coarse[1].dtype == coarse[0]["loss"].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in head.parameters())
    assert not torch.equal(coarse[1], exact[1])
    assert torch.cosine_similarity(coarse[1], exact[1], dim=0) > 0.99
    torch.testing.assert_close(coarse[0]["loss"], exact[0]["loss"], rtol=0.05, atol=0.02)


def test_graphs_need_a_device_that_has_them(head: Head) -> None:
    with pytest.raises(RecipeError, match=r"'graph' needs an NVIDIA device, this is cpu"):
        by(head, CPU, "training.execution=graph")


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA device here")
    return torch.device("cuda")


def test_graphs_give_the_eager_gradients_for_every_length(
    cuda: torch.device, head: Head, windows: Windows
) -> None:
    head.to(cuda)
    generator = torch.cuda.default_generators[0]
    eager, graphs = by(head, cuda), by(head, cuda, "training.execution=graph")
    for k, length in enumerate([40, 23, 40, 23, 31, 40]):
        given = Windows(*(tensor[:, :length].to(cuda) for tensor in windows))
        found = []
        for compute in (eager, graphs):
            generator.manual_seed(k)
            terms = compute(given, generator)
            loss = terms["loss"].clone()
            found.append([loss, *(p.grad.clone() for p in head.parameters())])
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
