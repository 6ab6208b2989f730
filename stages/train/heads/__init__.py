"""What a head is: windows in, a loss to minimise or a prediction per frame out.

The trainer, the evaluation and the drawings know heads only through `Head`. A new head is a module
with one class and one row in `HEADS`, or, in a package of somebody else's, an entry point of the
group `affcache.heads`.

A whole one of somebody else's, leaky_head.py::

    # A linear layer, then a leaky integrator over the frames that have a face.

    from dataclasses import dataclass

    import torch

    from stages.train.heads import Head, Prediction
    from stages.train.heads.compact import over_counted
    from stages.train.losses.regression import ccc_loss
    from stages.train.settings import number


    @dataclass(frozen=True, slots=True, kw_only=True)
    class LeakySettings:
        keep: float = number(0.8, low=0.0, high=1.0)  # share of the state that lasts


    class Leaky(Head):
        Settings = LeakySettings
        TASKS = ("va",)

        def __init__(self, sizes, settings):
            torch.nn.Module.__init__(self)
            self.keep = settings.keep
            self.linear = torch.nn.Linear(sizes.features, sizes.count)

        def integrate(self, rows):
            state, states = rows[:, 0], []
            for row in rows.unbind(1):
                state = self.keep * state + (1 - self.keep) * row
                states.append(state)
            return torch.stack(states, 1)

        def loss(self, windows, generator):
            said = over_counted(self.integrate, self.linear(windows.features), windows.mask)
            return {"loss": ccc_loss(windows.labels, said, windows.mask)}

        def predict(self, windows):
            said = over_counted(self.integrate, self.linear(windows.features), windows.mask)
            return Prediction(said.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)

In its metadata (setup.cfg, under options.entry_points)::

    affcache.heads =
        leaky = leaky_head:Leaky

Then `affcache train --head leaky --cache X` trains it, and `evaluate` and `predict` know it. A
`leaky.toml` beside the module is its recipe; without one it has everybody's defaults.

Convention: (B, L, ...) is batch, frame; a frame's row is used only where `mask` is true, and
what lies in the other rows (zeros, NaN) must have no influence on anything. Columns of labels,
pseudo-labels and predictions are those of `affcache.targets`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from affcache.errors import RecipeError
from affcache.windows import Sequence as FrameSequence
from stages.train.sizes import Sizes
from stages.train.suggest import known

__all__ = [
    "HEADS",
    "Head",
    "Prediction",
    "Sizes",
    "Windows",
    "head_class",
    "head_names",
]

HEADS: dict[str, str] = {
    # paper 000: Affective Processes, and the baselines that it compares them with
    "ap": "stages.train.heads.ap:AffectiveProcess",
    "mlp": "stages.train.heads.mlp:FrameNetwork",
    "bigru": "stages.train.heads.bigru:BidirectionalGru",
    "conv-gru": "stages.train.heads.convgru:ConvGru",
    "attention": "stages.train.heads.attention:SelfAttention",
    # paper 001: ANCLaF, per frame, with an LSTM, with attention over its states
    "anclaf": "stages.train.heads.anclaf:Anclaf",
    "anclaf-s": "stages.train.heads.anclaf:AnclafS",
    "anclaf-sa": "stages.train.heads.anclaf:AnclafSa",
    # paper 002, V: AffWildNet and the multi-component networks
    "affwildnet": "stages.train.heads.affwildnet:AffWildNet",
    "cnn-1rnn": "stages.train.heads.multirnn:Cnn1Rnn",
    "cnn-3rnn": "stages.train.heads.multirnn:Cnn3Rnn",
    "fusion-fc": "stages.train.heads.multirnn:FusionFc",
    "fusion-rnn": "stages.train.heads.multirnn:FusionRnn",
    # paper 002, VI: several tasks at once
    "mt": "stages.train.heads.multitask:MultiTask",
    "mt-gru": "stages.train.heads.multitask:MultiTaskGru",
    "mt-gru-audio": "stages.train.heads.multitask:AudioMultiTaskGru",
    "av-mt-gru": "stages.train.heads.audiovisual:AudioVisual",
    "facebehaviornet": "stages.train.heads.facebehavior:FaceBehaviorNet",
    # paper 003: Kalman-RNNs, and their baseline
    "lstm-kf": "stages.train.heads.kalman:LstmKf",
    "lstm-ekf": "stages.train.heads.kalman:LstmEkf",
    "lstm-smooth": "stages.train.heads.lstm_smooth:SmoothedLstm",
    # paper 004: units, expressions from them, valence and arousal from both
    "streaming": "stages.train.heads.streaming:Streaming",
}
ENTRY_POINTS = "affcache.heads"


class Windows(NamedTuple):
    """A batch of windows on the head's device.

    Attributes
    ----------
    features : (B, L, D) float32, all streams side by side (`Sizes.stream`), zero in frames without
        a face
    pseudo : (B, L, K) float32, the classifier's opinion; NaN in frames without a face
    labels : (B, L, K) float32, NaN where there is no annotation; never read by `Head.predict`
    mask : (B, L) bool, the frames that count: with a face and a label in training, with a face in
        testing
    """

    features: Tensor
    pseudo: Tensor
    labels: Tensor
    mask: Tensor


class Prediction(NamedTuple):
    """What a head says per frame; NaN in frames about which it says nothing.

    Attributes
    ----------
    mean : (B, L, K), in the unit of the labels; probabilities for expressions and action units
    std : (B, L, K) standard deviation, or None where the head has none
    details : more that it knows per frame, (B, L, ...) by name, such as "attention"
    """

    mean: Tensor
    std: Tensor | None
    details: Mapping[str, Tensor] = {}


class Head(nn.Module, ABC):
    """Base of every head.

    Subclasses are made with `Head(sizes, settings)` and say what they need:

    Settings : a frozen dataclass, the `[model]` table of their recipes
    TASKS : what they can learn
    STREAMS, OPTIONAL : the cache's arrays that are their features, and those that join them where
        a cache has them
    OUTPUTS : beginnings of the names of weights that speak for tasks rather than see features; a
        run that starts from another's weights makes them afresh where they do not fit
    """

    Settings: ClassVar[type]
    TASKS: ClassVar[tuple[str, ...]] = ("va",)
    STREAMS: ClassVar[tuple[str, ...]] = ("features",)
    OPTIONAL: ClassVar[tuple[str, ...]] = ()
    OUTPUTS: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, sizes: Sizes, settings: Any) -> None: ...

    def prepare(self, sequences: Sequence[FrameSequence]) -> None:
        """Look at the training set once, on the CPU, before the first iteration; optional.

        For what a batch cannot tell, such as how often each label occurs. Keep it in buffers, which
        a checkpoint holds; parameters are the seed's business.
        """

    @abstractmethod
    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars of one training batch: "loss" is minimised, the others are recorded.

        Everything random is drawn from `generator`, which is the default one of the device: layers
        that draw by themselves (dropout) follow it too. A task that has no label in the batch
        contributes exactly nothing.
        """

    @abstractmethod
    def predict(self, windows: Windows) -> Prediction:
        """Per-frame prediction without labels, deterministic."""

    def sample(self, windows: Windows, count: int, generator: torch.Generator) -> Tensor:
        """Coherent draws of whole functions, (count, B, L, K), from a head that has a latent.

        Raises
        ------
        RecipeError
            If the head has nothing to draw from.
        """
        raise RecipeError("this head draws no samples; a head with a latent does (ap)")

    @classmethod
    def needs_pseudo(cls, streams: Collection[str], settings: Any) -> bool:
        """Whether there must be pseudo-labels, which are NaN in a cache that has none."""
        return False

    @classmethod
    def files(cls, settings: Any) -> dict[str, Any]:
        """What files say that the settings name, by setting, as plain data.

        Read before a run folder is made, so that a wrong path is refused there; recorded in
        config.json, because it decides the result beside the recipe.
        """
        return {}

    def rates(self) -> dict[str, float]:
        """Parameters whose learning rate is not the recipe's: name -> factor on it."""
        return {}

    def report(self) -> dict[str, float]:
        """What it has learnt that a reader wants to see by name, such as a delay in seconds."""
        return {}


def head_names() -> list[str]:
    """Every head there is: ours, then those that installed packages bring."""
    return [*HEADS, *sorted(_brought().keys() - HEADS.keys())]


def head_class(name: str) -> type[Head]:
    """Import the class behind a head's name.

    Raises
    ------
    RecipeError
        If there is no such head, or a package brings something else by that name.
    """
    if name in HEADS:
        module, attribute = HEADS[name].split(":")
        found = getattr(importlib.import_module(module), attribute)
    else:
        brought = _brought()
        if name not in brought:
            raise RecipeError(f"no head {name!r}; {known('head', name, head_names())}")
        found = brought[name].load()
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise RecipeError(f"head {name!r} is {found!r}, expected a subclass of {__name__}.Head")
    return found


def _brought() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
