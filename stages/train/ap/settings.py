"""The `[model]` table of an Affective Process (paper 000)."""

from __future__ import annotations

from dataclasses import dataclass

from affcache.errors import RecipeError
from stages.train.ap.context import ALL, RULES
from stages.train.ap.terms import READINGS, REGULARISERS
from stages.train.settings import choice, number

LOSSES = ("nll", "nll+kl", "nll+reg", "nll+reg+kl")
PATHS = ("latent", "deterministic", "both", "both+attention")
PSEUDO_LABELS = ("shown", "withheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApSettings:
    """The `[model]` table of an Affective Process.

    Attributes
    ----------
    width : units of every hidden layer, of r and of z (3.1: d = 128)
    path : how the context reaches the decoder (section 5). "latent" is z alone; "deterministic"
        has a latent encoder of a single branch and draws nothing; "both" gives the decoder r_C
        beside z; with "both+attention" every frame attends to the context in r_C's place
    heads : of that attention
    pseudo_labels : "withheld" never shows the classifier's opinion, zeros stand in its place (AP
        without W); annotations are still shown in training with `truth_probability`. On simulated
        data (2,000 iterations, matched CCC) .784 became .748, and .775 with truth_probability 0: it
        is costly to train half of the time on annotations that no context has in testing
    loss : which terms of eq. 1 are added to the negative log-likelihood
    likelihood : whether a sequence's log-likelihood is the sum or the mean over its frames. Only
        the sum is the evidence bound: beside a mean, the KL term outweighs the data by the number
        of frames and the latent collapses (simulated data: KL .14 nats, and the means of z differ
        by .10 between sequences; with the sum 4.7 nats and .27; without KL 1.1)
    regulariser : how the sums in section 3.2.4 are read, see `ap_terms`
    kl_weight, reg_weight : lambda_kl and lambda_reg of eq. 1
    smallest_context : fewest context frames in training (4.2: 3)
    truth_probability : chance that a training sequence's context shows its annotations rather
        than its pseudo-labels (4.2: 0.5). Such sequences are easier than those in testing, so an
        AP that has not learnt to tell them apart is too sure: 80 % intervals held 67 % after 2,000
        iterations (76 % with 0) and 78 % after 5,000
    context : how many frames are the context in testing (section 5: 40); 0 takes all
    selection : which: those of lowest or largest uncertainty, or random ones (3.2.2: lowest).
        `affcache sweep` shows what they do for a trained run
    std_floor : least standard deviation of a prediction, against overconfidence on the training
        set; for short training on simulated data 0 did as well (matched CCC .786 and .784)
    latent_floor : least standard deviation of z, whose greatest is 1
    """

    width: int = number(128, low=1)
    path: str = choice("latent", PATHS)
    heads: int = number(8, low=1)
    pseudo_labels: str = choice("shown", PSEUDO_LABELS)
    loss: str = choice("nll", LOSSES)
    likelihood: str = choice("mean", READINGS)
    regulariser: str = choice("mean", REGULARISERS)
    kl_weight: float = number(1.0, low=0.0)
    reg_weight: float = number(1.0, low=0.0)
    smallest_context: int = number(3, low=1)
    truth_probability: float = number(0.5, low=0.0, high=1.0)
    context: int = number(40, low=ALL)
    selection: str = choice("lowest", RULES)
    std_floor: float = number(0.1, low=0.0, high=1.0)
    latent_floor: float = number(0.01, low=0.0, high=1.0)

    @property
    def has_latent(self) -> bool:
        """Whether z is random."""
        return self.path != "deterministic"

    @property
    def has_summary(self) -> bool:
        """Whether the decoder sees the context beside z, too."""
        return self.path.startswith("both")

    def check(self) -> None:
        """Refuse values that contradict each other.

        Raises
        ------
        RecipeError
            If a deterministic process is asked for what only a random latent has, or attention
            heads do not divide the width.
        """
        if not self.has_latent and "kl" in self.loss:
            raise RecipeError(
                f"model.loss = {self.loss!r} needs a random latent, and model.path = "
                "'deterministic' has none; choose nll or nll+reg"
            )
        if not self.has_latent and self.context != ALL and self.selection != "random":
            raise RecipeError(
                f"a deterministic process has no uncertainty to choose its {self.context} context "
                f"frames of {self.selection} by; choose context all or random "
                "(model.context = 0, or model.selection = 'random')"
            )
        if self.path == "both+attention" and self.width % self.heads:
            raise RecipeError(
                f"model.width = {self.width} does not divide into model.heads = {self.heads}"
            )
