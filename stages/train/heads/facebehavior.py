"""FaceBehaviorNet: three tasks from data sets that are each labelled for one of them.

Paper 002, section VI.B. The network is MT-VGG's (`stages.train.heads.multitask`); batches mix
caches (`[windows] mix`), so that every one has labels of every task, and expressions and units
teach each other through a table of how they go together (Table V, `stages.train.relatedness`). The
objective is equation 7, cross entropy + lambda_1 (masked binary cross entropy) +
lambda_2 (1 - mean CCC), and the chosen couplings (`stages.train.losses.couplings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from affcache.errors import RecipeError
from stages.train.heads import Sizes, Windows
from stages.train.heads.multitask import MultiTask, MultiTaskSettings, shown
from stages.train.losses.classes import soft_cross_entropy
from stages.train.losses.couplings import (
    READINGS,
    distribution_matching,
    expression_of_units,
    soft_expression,
    units_of_expression,
)
from stages.train.losses.regression import ccc_loss
from stages.train.losses.tasks import added, unit_cross_entropy
from stages.train.relatedness import load
from stages.train.settings import choice, number, text

CO_ANNOTATION, SOFT, MATCHING = "co-annotation", "soft-co-annotation", "distr-matching"
COUPLINGS = (
    "none",
    CO_ANNOTATION,
    SOFT,
    MATCHING,
    f"{CO_ANNOTATION}+{MATCHING}",
    f"{SOFT}+{MATCHING}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBehaviorSettings(MultiTaskSettings):
    """The `[model]` table of FaceBehaviorNet.

    Attributes
    ----------
    coupling : which of the paper's couplings are used, joined by "+"
    relatedness : "cognitive", "aff-wild2", or the path of a TOML file of the same form
    au_weight, va_weight : lambda_1 and lambda_2 of eq. 7
    coupling_weight : of the terms that distribution matching and soft co-annotation add
    matching : how eq. 9 is read, see `distribution_matching`
    sharpness : of soft co-annotation's labels, see `soft_expression`; 1 is the paper's softmax
    """

    coupling: str = choice(f"{SOFT}+{MATCHING}", COUPLINGS)
    relatedness: str = text("cognitive")
    au_weight: float = number(1.0, low=0.0)
    va_weight: float = number(1.0, low=0.0)
    coupling_weight: float = number(1.0, low=0.0)
    matching: str = choice("divergence", READINGS)
    sharpness: float = number(10.0, low=0.0)


class FaceBehaviorNet(MultiTask):
    """MT-VGG on cached features, with coupled tasks."""

    Settings: ClassVar[type] = FaceBehaviorSettings

    def __init__(self, sizes: Sizes, settings: FaceBehaviorSettings) -> None:
        super().__init__(sizes, settings)
        self.settings = settings
        self.couplings = set() if settings.coupling == "none" else {*settings.coupling.split("+")}
        self.related: Tensor | None = None
        if self.couplings and not {"expr", "au"} <= sizes.targets.keys():
            raise RecipeError(
                f"model.coupling = {settings.coupling} couples expressions and action units: set "
                f'task = "va+expr+au" (it is {"+".join(sizes.targets)!r}), or coupling = none'
            )

    @classmethod
    def files(cls, settings: FaceBehaviorSettings) -> dict[str, Any]:
        """The table of relatedness, where a coupling asks for it."""
        if settings.coupling == "none":
            return {}
        return {"relatedness": load(settings.relatedness).as_dict()}

    def table(self, like: Tensor) -> Tensor:
        """Weights (7, k) of the relatedness for the columns that the data have.

        Read when the first loss asks for it: a run predicts without, wherever it is copied to.
        """
        if self.related is None or self.related.device != like.device:
            targets = self.sizes.targets
            rows = load(self.settings.relatedness).table(targets["expr"], targets["au"])
            self.related = torch.from_numpy(rows).to(like)
        return self.related

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 7 over what is annotated and co-annotated, and the couplings' own terms."""
        outputs, mask, chosen = self.outputs(shown(windows)), windows.mask, self.settings
        labels, logits = (
            {task: rows[..., self.sizes.columns(task)] for task in self.sizes.targets}
            for rows in (windows.labels, outputs)
        )
        terms, weights = self.coupled(labels, logits, mask), None
        if CO_ANNOTATION in self.couplings:
            table, expression, units = self.table(outputs), labels["expr"], labels["au"]
            labels["expr"] = expression_of_units(expression, units, table)
            labels["au"], weights = units_of_expression(expression, units, table)
        if "expr" in labels:
            terms["expr"] = soft_cross_entropy(labels["expr"], logits["expr"], mask)
        if "au" in labels:
            units_term = unit_cross_entropy(labels["au"], logits["au"], mask, weights)
            terms["au"] = chosen.au_weight * units_term
        if "va" in labels:
            terms["va"] = chosen.va_weight * ccc_loss(labels["va"], logits["va"], mask)
        return added(terms)

    def coupled(
        self, labels: dict[str, Tensor], logits: dict[str, Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        """The terms that soft co-annotation and distribution matching add, weighed."""
        terms = {}
        if SOFT in self.couplings:
            table, sharpness = self.table(logits["au"]), self.settings.sharpness
            soft = soft_expression(labels["au"], table, sharpness)
            terms[SOFT] = soft_cross_entropy(soft, logits["expr"], mask)
        if MATCHING in self.couplings:
            table = self.table(logits["au"])
            terms[MATCHING] = distribution_matching(
                logits["expr"], logits["au"], mask, table, self.settings.matching
            )
        return {name: self.settings.coupling_weight * term for name, term in terms.items()}
