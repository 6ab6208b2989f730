"""ANCLaF: valence and arousal from [Z; Q], latent features beside a guess at the quadrant.

Paper 001, section 3: per frame (eq. 3), with an LSTM over n frames ("-S", eq. 4), and with an LSTM
that attends to its own past states ("-SA", eq. 5 to 8). Z is a cache's "features" stream; Q is its
"quadrant" stream where there is one, else derived from the pseudo-labels (`quadrants`), which there
must be then. Q goes wherever Z goes, into the temporal variants as well.

Widths: the text gives none. The authors' code brings [Z; Q] to 1,024 numbers with convolutions over
a map and leaky rectifiers, and runs an LSTM of 512 units over them. A cached frame is no map but a
vector, of 512 by default: an encoding of 1,024 could hold no more than it does. So the encoder is
one layer to 512 with the same rectifier, and the LSTM keeps the code's proportion, 256 units;
`model.encoding=1024` and `model.state=512` are the published widths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from affcache.errors import RecipeError
from affcache.windows import Sequence as FrameSequence
from stages.train.anclaf.affect import CLASSES, RULES, affect_loss, class_weights, instances
from stages.train.anclaf.quadrants import COUNT, KINDS, quadrants
from stages.train.anclaf.recurrence import READINGS, Attention, cut, joined, slide, unroll
from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.settings import choice, number

LEAK = 0.01  # of the rectifiers in the authors' code


@dataclass(frozen=True, slots=True, kw_only=True)
class AnclafSettings:
    """The `[model]` table of `anclaf`.

    Attributes
    ----------
    encoding : units of the encoder of [Z; Q]
    quadrants : how Q is derived where the cache has no quadrant stream, see `quadrants`
    weights : how a label's class weighs in the loss, see `affect`
    weight_limit : the most that a class may weigh, in units of the average frame
    """

    encoding: int = number(512, low=1)
    quadrants: str = choice("soft", KINDS)
    weights: str = choice("inverse", RULES)
    weight_limit: float = number(10.0, low=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSettings(AnclafSettings):
    """The `[model]` table of `anclaf-s`.

    Attributes
    ----------
    n : frames behind every prediction, itself included (section 3.2: 2, 4, 8, 16, 32)
    state : units of the LSTM
    """

    n: int = number(8, low=2)
    state: int = number(256, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSettings(SequenceSettings):
    """The `[model]` table of `anclaf-sa`.

    Attributes
    ----------
    context : how eq. 7 is read, see `recurrence`
    """

    context: str = choice("average", READINGS)


class Anclaf(Head):
    """One frame at a time (eq. 3)."""

    Settings: ClassVar[type] = AnclafSettings
    OPTIONAL: ClassVar[tuple[str, ...]] = ("quadrant",)
    class_weights: Tensor

    @classmethod
    def needs_pseudo(cls, streams: Collection[str], settings: AnclafSettings) -> bool:
        """Quadrants come from pseudo-labels where the cache has none of its own."""
        return "quadrant" not in streams

    def __init__(self, sizes: Sizes, settings: AnclafSettings) -> None:
        nn.Module.__init__(self)
        if "features" not in sizes.streams:
            there = ", ".join(sizes.streams)
            raise RecipeError(f"anclaf reads the stream 'features' as Z; the cache gives {there}")
        self.settings = settings
        self.z = sizes.stream("features")
        self.q = sizes.stream("quadrant") if "quadrant" in sizes.streams else None
        given = sizes.streams["features"] + sizes.streams.get("quadrant", COUNT)
        self.encoder = nn.Linear(given, settings.encoding)
        self.output = nn.Linear(self.summary(settings), sizes.count)
        self.register_buffer("class_weights", torch.ones(sizes.count, CLASSES))

    @staticmethod
    def summary(settings: AnclafSettings) -> int:
        """Width of what the output layer reads."""
        return settings.encoding

    def prepare(self, sequences: Sequence[FrameSequence]) -> None:
        """Weigh the classes by how often the training labels fall into them (eq. 10)."""
        labels = torch.from_numpy(np.concatenate([s.labels[s.counted] for s in sequences]))
        weights = class_weights(
            instances(labels), self.settings.weights, self.settings.weight_limit
        )
        self.class_weights.copy_(weights)

    def encode(self, windows: Windows) -> Tensor:
        """enc([Z; Q]) of every frame, (B, L, encoding)."""
        nowhere = ~windows.mask.unsqueeze(-1)
        rows = windows.features.masked_fill(nowhere, 0.0)
        if self.q is None:
            pseudo = windows.pseudo.masked_fill(nowhere, 0.0).nan_to_num()
            guess = quadrants(pseudo, self.settings.quadrants)
        else:
            guess = rows[..., self.q]
        return F.leaky_relu(self.encoder(torch.cat([rows[..., self.z], guess], dim=-1)), LEAK)

    def said(self, windows: Windows) -> Tensor:
        """Valence and arousal of every frame of training windows, (B, L, K)."""
        rows: Tensor = self.output(self.encode(windows))
        return rows

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 10 over all counted frames of the batch together."""
        return affect_loss(windows.labels, self.said(windows), windows.mask, self.class_weights)

    def predict(self, windows: Windows) -> Prediction:
        """From the frame alone."""
        return Prediction(self.where_seen(self.said(windows), windows.mask), None)

    @staticmethod
    def where_seen(rows: Tensor, mask: Tensor) -> Tensor:
        """NaN in frames without a face: rows (B, L, ...), mask (B, L)."""
        return rows.masked_fill(~mask.unsqueeze(-1), torch.nan)


class AnclafS(Anclaf):
    """An LSTM over n frames (eq. 4)."""

    Settings: ClassVar[type] = SequenceSettings

    def __init__(self, sizes: Sizes, settings: SequenceSettings) -> None:
        super().__init__(sizes, settings)
        self.n = settings.n
        self.inputs = nn.Linear(settings.encoding, 4 * settings.state)
        self.recurrent = nn.Linear(settings.state, 4 * settings.state, bias=False)

    @staticmethod
    def summary(settings: AnclafSettings) -> int:
        """The output layer reads the LSTM's state."""
        assert isinstance(settings, SequenceSettings)
        return settings.state

    def attend(self) -> Attention | None:
        """This variant does not."""
        return None

    def said(self, windows: Windows) -> Tensor:
        """Every frame of the stretches of n frames that the windows are cut into."""
        steps = unroll(
            cut(self.inputs(self.encode(windows)), self.n),
            cut(windows.mask, self.n),
            self.recurrent.weight,
            self.attend(),
        )
        rows: Tensor = self.output(joined([s.hidden for s in steps], windows.mask.shape[1]))
        return rows

    def predict(self, windows: Windows) -> Prediction:
        """Every frame as the last of n; `details["attention"]` as described at `AnclafSa`."""
        steps = unroll(
            slide(self.inputs(self.encode(windows)), self.n),
            slide(windows.mask, self.n),
            self.recurrent.weight,
            self.attend(),
        )
        last = deque(steps, maxlen=1).pop()  # the others' states are let go
        mean = self.where_seen(self.output(last.hidden), windows.mask)
        if not last.scores:
            return Prediction(mean, None)
        weights = torch.stack(last.scores, dim=-1).softmax(-1)
        return Prediction(mean, None, {"attention": self.where_seen(weights, windows.mask)})


class AnclafSa(AnclafS):
    """An LSTM over n frames that attends to its n previous states (eq. 5 to 8).

    `details["attention"]` of a prediction is (B, L, n), the weights of the step into the frame,
    which add up to 1: the last column belongs to the frame before, column j to the frame n - j
    frames before, and the first one to the empty state with which the n frames begin. It is 0
    where there was no face, and NaN in frames about which nothing is said.
    """

    Settings: ClassVar[type] = AttentionSettings

    def __init__(self, sizes: Sizes, settings: AttentionSettings) -> None:
        super().__init__(sizes, settings)
        self.divide = float(settings.n) if settings.context == "printed" else 1.0
        self.context = nn.Linear(2 * settings.state, 4 * settings.state, bias=False)
        self.attention = nn.Linear(2 * settings.state, 1, bias=False)

    def attend(self) -> Attention | None:
        """W_a on the past state alone, see `recurrence`."""
        return Attention(self.attention.weight[0], self.context.weight, self.divide)
