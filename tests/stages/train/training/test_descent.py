"""Loss and gradient: eager, in lower precision, compiled and as graphs, all of the same batch."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from affcache.errors import RecipeError
from stages.train.heads import Head, Sizes, Windows, head_class
from stages.train.recipe import load
from stages.train.training.descent import Descent, Terms, descent
from stages.train.training.graphs import Graphs

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


class StandIn:
    """A CUDA graph on the CPU: what it captured is computed again, into the same tensors."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.call: tuple[Windows, torch.Generator] | None = None
        self.terms: Terms = {}
        self.grads: list[Tensor] = []

    def replay(self) -> None:
        fresh = eagerly(self.head)(*self.call)
        for name, value in self.terms.items():
            value.copy_(fresh[name])
        for kept, parameter in zip(self.grads, self.head.parameters(), strict=True):
            kept.copy_(parameter.grad)


def eagerly(head: Head) -> Descent:
    return by(head, CPU)


def test_the_keeping_of_graphs_on_a_stand_in_for_the_device(
    head: Head, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One graph a length, with its own batch and gradients; real ones need a GPU, see below."""
    made: list[StandIn] = []

    def new_graph() -> StandIn:
        made.append(StandIn(head))
        return made[-1]

    @contextmanager
    def capturing(graph: StandIn) -> Iterator[None]:
        monkeypatch.setattr(watched, "graph", graph)
        yield
        graph.grads = [p.grad for p in head.parameters()]
        monkeypatch.setattr(watched, "graph", None)

    class Watched:
        graph: StandIn | None = None

        def __call__(self, given: Windows, generator: torch.Generator) -> Terms:
            terms = eagerly(head)(given, generator)
            if self.graph is not None:
                self.graph.call, self.graph.terms = (given, generator), terms
            return terms

    watched = Watched()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", new_graph)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "Stream", MagicMock)
    monkeypatch.setattr(torch.cuda, "current_stream", MagicMock)
    monkeypatch.setattr(torch.cuda, "stream", lambda side: nullcontext())
    graphs, generator = Graphs(watched, list(head.parameters())), torch.default_generator
    for k, length in enumerate([40, 23, 40, 23, 31, 40]):
        given = Windows(*(tensor[:, :length] for tensor in windows))
        given = given._replace(features=given.features * (k + 1))
        found = []
        for compute in (eagerly(head), graphs):
            generator.manual_seed(k)
            loss = compute(given, generator)["loss"].clone()
            found.append([loss, *(p.grad.clone() for p in head.parameters())])
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert len(made) == 3


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
