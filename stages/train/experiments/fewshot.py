"""A multi-task network fine-tuned on a few examples of new categories (compound expressions).

Paper 002, section VI.B: FaceBehaviorNet's features are "used as priors for fine-tuning the network
to perform compound emotion classification" on the small training set of RAF-DB. No more is said of
how. Chosen here: one fresh linear layer over the categories takes the place of the output layer of
all tasks, in torch's default initialisation; all weights learn, those below from where they stand;
cross entropy, every example weighing the same; Adam at a constant rate; every iteration sees all
examples, under the network's own dropout; the last weights are kept, since examples are too few to
hold any back.

Convention: a category is an index from 0, -1 where a frame is no example. A network with memory
sees every face of an example's window, and learns from the examples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from affcache.errors import RunError
from affcache.windows import Sequence as FrameSequence
from stages.train.heads import Head, Prediction, Windows
from stages.train.heads.multitask import MultiTask, MultiTaskGru, shown
from stages.train.inference import groups, windows_of
from stages.train.losses.classes import soft_cross_entropy
from stages.train.seeds import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotSettings:
    """How a network is fine-tuned.

    Attributes
    ----------
    iterations : steps, each over all examples
    learning_rate : Adam's, for all weights
    seed : of the fresh layer and of dropout
    """

    iterations: int = 200
    learning_rate: float = 1e-3
    seed: int = 0


class FewShot(Head):
    """A trained network whose output layer is replaced by a fresh one over `count` categories."""

    def __init__(self, network: MultiTask | MultiTaskGru, count: int) -> None:
        nn.Module.__init__(self)
        network.output = nn.Linear(network.output.in_features, count)
        self.network = network

    def logits(self, windows: Windows) -> Tensor:
        """Windows (B, L, ...) to (B, L, categories), before softmax."""
        return self.network.outputs(shown(windows))

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean cross entropy, in nats, of frames whose labels (B, L, categories) are not NaN."""
        return {"loss": soft_cross_entropy(windows.labels, self.logits(windows), windows.mask)}

    def predict(self, windows: Windows) -> Prediction:
        """Probabilities of the categories, NaN in frames without a face."""
        said = self.logits(windows).softmax(-1)
        return Prediction(said.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)


def fine_tuned(
    network: Head,
    sequences: Sequence[FrameSequence],
    truth: Sequence[np.ndarray],
    count: int,
    length: int,
    settings: FewShotSettings,
    device: torch.device,
) -> FewShot:
    """Fine-tune a network on the examples of some sequences.

    Parameters
    ----------
    network : trained; it is changed
    sequences : of the cache; windows without an example are left out
    truth : one (T,) of categories a sequence, -1 where a frame is no example
    count : of categories
    length : frames of a window, 0 for whole sequences, as in `inference.predict`

    Returns
    -------
    The head in eval mode, on `device`; on the CPU the same each time for the same seed.

    Raises
    ------
    RunError
        If the network's tasks do not share one representation below one output layer, or its
        weights diverge.
    """
    if not isinstance(network, MultiTask | MultiTaskGru):
        raise RunError(
            f"few-shot: {type(network).__name__} has no single output layer above what its tasks "
            "share; fine-tune a run of mt, mt-gru or facebehaviornet"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(settings.seed, -1))
        head = FewShot(network, count).to(device).train()
        batches = examples(sequences, truth, count, length, device)
        total = sum(number for _, number in batches)
        adam = torch.optim.Adam(head.parameters(), lr=settings.learning_rate)
        for _ in range(settings.iterations):
            adam.zero_grad()
            for windows, number in batches:
                loss = head.loss(windows, torch.default_generator)["loss"] * (number / total)
                loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    if not all(bool(weight.isfinite().all()) for weight in head.parameters()):
        raise RunError(
            f"few-shot: diverged at a learning rate of {settings.learning_rate:g}; lower it"
        )
    return head.eval()


def examples(
    sequences: Sequence[FrameSequence],
    truth: Sequence[np.ndarray],
    count: int,
    length: int,
    device: torch.device,
) -> list[tuple[Windows, int]]:
    """Batches of the windows that hold examples, and how many with a face each holds.

    Labels are one-hot, NaN in frames that are no example; the mask is "has a face".
    """
    batches = []
    for group in groups(sequences, length):
        seen = [slice(span.keep, span.stop) for _, span in group]
        kept = [
            (i, span)
            for (i, span), own in zip(group, seen, strict=True)
            if ((truth[i][own] >= 0) & sequences[i].valid[own]).any()
        ]
        if not kept:
            continue
        labels = np.full((len(kept), kept[0][1].stop - kept[0][1].start, count), np.nan, np.float32)
        for row, (i, span) in zip(labels, kept, strict=True):
            frames = np.arange(span.keep, span.stop)  # earlier frames are another window's
            known = frames[(truth[i][frames] >= 0) & sequences[i].valid[frames]]
            row[known - span.start] = np.eye(count)[truth[i][known]]
        number = int(np.isfinite(labels[..., 0]).sum())
        windows = windows_of(sequences, kept, device)
        batches.append((windows._replace(labels=torch.from_numpy(labels).to(device)), number))
    return batches
