"""Streaming: action units first, expressions from them, valence and arousal from both.

Paper 004, section 3.3 and Fig. 1. Each stage has features of its own (12 x 16 for the units, 64,
64) and, but for the first, a translation of what the earlier stages found; both together are judged
by the stage's predictor and handed on. The paper fixes these widths and the outputs' (12, 7, 2). It
leaves open, and here it is: extractors are one layer with ReLU, translations two, predictors two
with a hidden width of 64 (with tanh for valence and arousal, as printed), the units' predictor
reads all 12 x 16 together, and {AU, EXPR} are the 12 x 16 and the expressions' 128.

The paper's stages see one frame. With `recurrent = "gru"` each stage runs its joint features
through a GRU of their width, so that a translation hands on what was seen so far; nothing looks
ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.heads.compact import over_counted
from stages.train.losses.classes import OTHERS, binary_cross_entropy, circle, soft_cross_entropy
from stages.train.losses.regression import ccc_loss
from stages.train.settings import choice, number

ORDER = ("au", "expr", "va")
TRANSLATIONS: dict[str, tuple[str, ...]] = {
    "both": ("expr", "va"),
    "au-expr": ("expr",),
    "au+expr-va": ("va",),
    "none": (),
}
RECURRENT = ("none", "gru")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSettings:
    """The `[model]` table of a streaming head.

    Attributes
    ----------
    translations : which stages are told what the earlier ones found (Table 3 compares both, none)
    recurrent : "gru" gives every stage a memory
    per_unit : features of each action unit (3.3: 12 x 16)
    width : features of the other stages and of each translation (3.3: 64)
    hidden : of the predictors
    kept : lambda of eq. 4, the annotated expression's weight; 1 is plain cross entropy
    others : how eq. 4 weighs the other expressions, see `stages.train.losses.classes.smoothed`
    """

    translations: str = choice("both", tuple(TRANSLATIONS))
    recurrent: str = choice("none", RECURRENT)
    per_unit: int = number(16, low=1)
    width: int = number(64, low=1)
    hidden: int = number(64, low=1)
    kept: float = number(0.9, low=0.0, high=1.0)
    others: str = choice("shared", OTHERS)


class Stage(nn.Module):
    """One representation: its extractor, its translation of earlier ones, its predictor.

    Parameters
    ----------
    features : width of a frame's features
    own : width of what the extractor makes of them
    earlier : width of what the earlier stages hand on; 0 for a stage that is told nothing
    outputs : columns of its task
    activation : inside the predictor
    """

    def __init__(
        self,
        features: int,
        own: int,
        earlier: int,
        outputs: int,
        activation: type[nn.Module],
        settings: StreamingSettings,
    ) -> None:
        super().__init__()
        width, hidden = settings.width, settings.hidden
        self.extractor = nn.Sequential(nn.Linear(features, own), nn.ReLU())
        self.translation = (
            nn.Sequential(nn.Linear(earlier, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            if earlier
            else None
        )
        self.joint = own + (width if earlier else 0)
        with_memory = settings.recurrent == "gru"
        self.memory = nn.GRU(self.joint, self.joint, batch_first=True) if with_memory else None
        self.predictor = nn.Sequential(
            nn.Linear(self.joint, hidden), activation(), nn.Linear(hidden, outputs)
        )

    def forward(self, features: Tensor, earlier: Tensor | None, mask: Tensor) -> Tensor:
        """Joint features (B, L, joint) of frames (B, L, D) and what earlier stages handed on."""
        joint: Tensor = self.extractor(features)
        if self.translation is not None:
            joint = torch.cat([joint, self.translation(earlier)], dim=-1)
        memory = self.memory
        return joint if memory is None else over_counted(lambda x: memory(x)[0], joint, mask)


class Streaming(Head):
    """The stages of Fig. 1 behind the prior model, for any of the three tasks."""

    Settings: ClassVar[type] = StreamingSettings
    TASKS: ClassVar[tuple[str, ...]] = ("va", "expr", "au")

    def __init__(self, sizes: Sizes, settings: StreamingSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        self.columns = {task: sizes.columns(task) for task in ORDER if task in sizes.targets}
        self.count = sizes.count
        self.stages = nn.ModuleDict()
        earlier = 0
        for task in self.columns:
            outputs = len(sizes.targets[task])
            stage = Stage(
                sizes.features,
                outputs * settings.per_unit if task == "au" else settings.width,
                earlier if task in TRANSLATIONS[settings.translations] else 0,
                outputs,
                nn.Tanh if task == "va" else nn.ReLU,
                settings,
            )
            self.stages[task] = stage
            earlier += stage.joint

    def logits(self, features: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Each task's outputs (B, L, k) before sigmoid, softmax or tanh."""
        found: list[Tensor] = []
        said = {}
        for task, stage in self.stages.items():
            assert isinstance(stage, Stage)
            joint = stage(features, torch.cat(found, dim=-1) if found else None, mask)
            said[task] = stage.predictor(joint)
            found.append(joint)
        return said

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 7: circle and cross entropy of units, soft cross entropy, concordance; unweighted."""
        said = self.logits(windows.features, windows.mask)
        terms: dict[str, Tensor] = {}
        for task, logits in said.items():
            terms |= self.terms(task, windows.labels[..., self.columns[task]], logits, windows.mask)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def terms(self, task: str, truth: Tensor, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """One task's losses; each is exactly 0 where the batch has no label for it."""
        if task == "au":
            return {
                "circle": circle(truth, logits, mask),
                "bce": binary_cross_entropy(truth, logits, mask),
            }
        if task == "expr":
            kept, others = self.settings.kept, self.settings.others
            return {"expr": soft_cross_entropy(truth, logits, mask, kept, others)}
        return {"va": truth.shape[-1] * ccc_loss(truth, logits.tanh(), mask)}  # eq. 6: 2 - sum

    def predict(self, windows: Windows) -> Prediction:
        """Probabilities of units and expressions, and valence and arousal; NaN without a face."""
        said = probabilities(self.logits(windows.features, windows.mask))
        mean = windows.features.new_full((*windows.mask.shape, self.count), torch.nan)
        for task, values in said.items():
            mean[..., self.columns[task]] = values
        return Prediction(mean.masked_fill(~windows.mask.unsqueeze(-1), torch.nan), None)


def probabilities(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs as they are shown: sigmoid for units, softmax for expressions, tanh for the rest."""
    shown = {"au": torch.sigmoid, "expr": lambda s: s.softmax(-1), "va": torch.tanh}
    return {task: shown[task](values) for task, values in logits.items()}
