"""Kalman-RNNs: a network observes, a filter believes, a delay brings it to the annotation's time.

Paper 003, sections III and IV.C: per dimension an LSTM gives observations of [z, z', z''], which a
Kalman filter (`lstm-kf`) or an extended one (`lstm-ekf`) turns into a belief about them, trained
end to end through the filter. One network per dimension, or one for all of them (the paper's *).

The filter starts from the belief to which it settles, about 0. Frames without a face predict
without updating, and have a prediction of their own.

The state's covariance gives the uncertainty: the standard deviation of z, averaged by alignment's
weights like z itself, which is exact as far as errors of frames so close are the same. Its scale is
nothing that eq. 17 could teach: Q, R and P times any constant leave all gains as they are. So each
target has a factor of its own, fitted by likelihood beside the loss, from which no gradient reaches
anything else: means are the paper's.

Convention: within a joint state all levels come first, then all first, then all second derivatives.

One frame at a time, as beside a camera:

    live = head.begin()
    for x in frames:                      # features (D,), or None where there is no face
        live, now = head.step(live, x)
        print(now.mean, now.std)          # (K,) each

`step` uses the present and past alone: kernel weights of frames to come are left out, the others
renormalised. `follow` says the same of a whole batch at once; both are `predict` to 1e-6 where no
weight was on what comes: mu > 5 sigma, and mu > 14 sigma^2 for a sequence's first frames, which
have to make do with what there is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from affcache.windows import Sequence as FrameSequence
from stages.train.gaussians import Gaussian
from stages.train.heads import Head, Prediction, Sizes, Windows
from stages.train.kalman import alignment
from stages.train.kalman.extended import extended, turn
from stages.train.kalman.layer import Observer, StateSpace
from stages.train.kalman.linear import filtered, settled_belief
from stages.train.kalman.live import Live, Now, held_back, look_back, remember
from stages.train.kalman.manual import best_delays
from stages.train.kalman.model import Belief, LinearModel, advance, correct
from stages.train.kalman.objective import derivative_error, derivatives
from stages.train.kalman.settings import SEARCH, KalmanSettings, names
from stages.train.losses.regression import ccc_loss, counted, gaussian_nll

SCALE_RATE = 10.0  # one number that nothing else waits for; at 0.001 it moves by 1 % a step


class Course(NamedTuple):
    """What is said about a batch: level, first and second derivative, std, each (B, L, K)."""

    level: Tensor
    first: Tensor
    second: Tensor
    std: Tensor


class RecurrentFilter(Head):
    """Both heads; they differ in what `believe` and `turn` do."""

    Settings: ClassVar[type] = KalmanSettings
    shift: Tensor

    def __init__(self, sizes: Sizes, settings: KalmanSettings) -> None:
        nn.Module.__init__(self)
        self.settings, self.sizes = settings, sizes
        self.joint = sizes.count if settings.state == "joint" else 1
        filters = sizes.count // self.joint
        widths = settings.first, settings.second, settings.memory
        self.observers = nn.ModuleList(
            Observer(sizes.features, widths, 3 * self.joint) for _ in range(filters)
        )
        self.space = StateSpace(
            filters,
            self.joint,
            settings.transition,
            settings.step(sizes.fps),
            settings.process,
            settings.noise,
        )
        self.scale = nn.Parameter(torch.zeros(sizes.count))
        if settings.alignment == "manual":
            given = settings.given_delays(sizes) or [0] * sizes.count
            self.register_buffer("shift", torch.tensor(given))
        if settings.alignment == "adaptive":
            self.delay = nn.Parameter(torch.zeros(sizes.count))
            self.width = nn.Parameter(torch.full((sizes.count,), alignment.START))

    def prepare(self, sequences: Sequence[FrameSequence]) -> None:
        """Search for manual alignment's delays; they are a buffer, which a checkpoint keeps."""
        if self.settings.alignment == "manual" and self.settings.delays == SEARCH:
            self.shift.copy_(torch.tensor(best_delays(sequences, self.settings.reach)))

    @abstractmethod
    def believe(self, model: LinearModel, observations: Tensor, mask: Tensor) -> Belief:
        """The filter over whole sequences: observations (G, B, L, m), mask (B, L)."""

    @abstractmethod
    def turn(self, model: LinearModel, belief: Belief, observed: Tensor | None) -> Belief:
        """The filter's next frame; `observed` (G, 1, m), or None without a face."""

    def loss(self, windows: Windows, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 17, and the likelihood of the standard deviations' scale alone."""
        chosen, mask = self.settings, windows.mask
        said = self.course(windows)
        labels = windows.labels.masked_fill(~self.inside(mask.shape[-1]), torch.nan)
        step = chosen.step(self.sizes.fps)
        truth = derivatives(labels, counted(labels, mask), step)
        fixed = Gaussian(said.level.detach(), self.scaled(said.std.detach()))
        terms = {
            "ccc": ccc_loss(labels, said.level, mask, chosen.concordance),
            "derivatives": chosen.derivative_weight
            * derivative_error(truth, said.first, said.second),
            "scale": gaussian_nll(windows.labels, fixed, mask),
        }
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def predict(self, windows: Windows) -> Prediction:
        """Level and standard deviation of every frame, with or without a face."""
        said = self.course(windows)
        return Prediction(said.level, self.scaled(said.std))

    def follow(self, windows: Windows) -> Prediction:
        """`predict` as it would have been at the time: what `step` says, frame by frame."""
        said = self.course(windows, past=True)
        return Prediction(said.level, self.scaled(said.std))

    def course(self, windows: Windows, past: bool = False) -> Course:
        """Everything about every frame; `past` keeps alignment from looking ahead."""
        features = windows.features.masked_fill(~windows.mask.unsqueeze(-1), 0.0)
        observations = torch.stack([network(features)[0] for network in self.observers])
        belief = self.believe(self.space(), observations, windows.mask)
        columns = self.by_target(belief)  # (K, B, L, 4)
        batch = columns.shape[1]
        series = columns.movedim(1, -2).flatten(-2)  # (K, L, B 4): a series per target
        aligned = self.aligned(series, past).to(windows.features.dtype)  # (K, L, B 4)
        parts = aligned.reshape(*aligned.shape[:2], batch, 4).permute(3, 2, 1, 0)
        return Course(*parts.unbind())

    def by_target(self, belief: Belief) -> Tensor:
        """Level, derivatives and standard deviation: beliefs (G, B, L, n) to (K, B, L, 4)."""
        states = belief.mean.reshape(*belief.mean.shape[:-1], 3, self.joint)
        variance = belief.covariance.diagonal(dim1=-2, dim2=-1)[..., : self.joint]
        std = variance.expand(*states.shape[:-2], self.joint).sqrt()
        columns = torch.cat([states, std.unsqueeze(-2)], -2)
        return columns.movedim(-1, 1).flatten(0, 1)

    def aligned(self, series: Tensor, past: bool) -> Tensor:
        """Series (K, L, C) at the annotation's time."""
        if self.settings.alignment == "adaptive":
            return alignment.weighed(series, *self.kernel(), self.settings.reach, past)
        if self.settings.alignment == "manual":
            return alignment.shifted(series, [max(d, 0) if past else d for d in self.manual()])
        return series

    def inside(self, frames: int) -> Tensor:
        """Which frames of a window have their delayed moment inside it, past the warm-up: (L, K).

        In the others the nearest state stands in, or one that has hardly seen anything yet; both
        would teach a delay to be shorter than it is. At most half of a window is left out for the
        one and a quarter for the other, so that a delay that is too long can be unlearnt.
        """
        at = torch.arange(frames, device=self.scale.device).unsqueeze(-1)
        if self.settings.alignment == "adaptive":
            delays = self.kernel()[0].detach()
        else:
            delays = at.new_tensor(self.manual() or [0] * self.sizes.count)
        source = at - delays.clamp(-frames // 2, frames // 2).round()
        warm = min(round(self.settings.warm_up_seconds * self.sizes.fps), frames // 4)
        return (source >= warm) & (source < frames)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """mu and sigma^2 of every target in float64, frames and frames^2."""
        delay, width = self.delay.double(), self.width.double()
        return alignment.delay_of(delay), alignment.variance_of(width)

    def manual(self) -> list[int]:
        """Delays of manual alignment in frames; empty where there is none."""
        frames: list[int] = self.shift.tolist() if self.settings.alignment == "manual" else []
        return frames

    def scaled(self, std: Tensor) -> Tensor:
        """The state's standard deviation (..., K) in the labels' unit."""
        return std * self.scale.exp()

    def rates(self) -> dict[str, float]:
        """mu', the noises and the scale of the standard deviations learn at a pace of their own."""
        rates = dict.fromkeys(("space.process", "space.noise"), self.settings.noise_rate)
        rates["scale"] = SCALE_RATE
        if self.settings.alignment == "adaptive":
            rates["delay"] = self.settings.delay_rate
        return rates

    def report(self) -> dict[str, float]:
        """The delay of every target in frames and seconds, and sigma of the learnt ones."""
        found: dict[str, float] = {}
        if self.settings.alignment == "adaptive":
            delays, variances = (values.tolist() for values in self.kernel())
        else:
            delays, variances = self.manual(), []
        for k, frames in enumerate(delays):
            name = names(self.sizes)[k]
            found[f"delay_frames.{name}"] = frames
            found[f"delay_seconds.{name}"] = frames / self.sizes.fps
            if variances:
                found[f"sigma_frames.{name}"] = variances[k] ** 0.5
        return found

    @torch.no_grad()
    def begin(self) -> Live:
        """Before the first frame."""
        start = settled_belief(self.space())
        recent = start.mean.new_zeros(self.sizes.count, 0, 2)
        return Live((None,) * len(self.observers), start, recent)

    @torch.no_grad()
    def step(self, live: Live, features: Tensor | None) -> tuple[Live, Now]:
        """One frame: its features (D,), or None where there is no face.

        Returns
        -------
        What to give to the next call, and what is said about this frame
        """
        kind = self.scale
        given = kind.new_zeros(self.sizes.features) if features is None else features.to(kind)
        outcomes = [
            network(given.expand(1, 1, -1), memory)
            for network, memory in zip(self.observers, live.memories, strict=True)
        ]
        observed = torch.stack([o[0] for o, _ in outcomes]).double()
        belief = self.turn(self.space(), live.belief, None if features is None else observed)
        frames = Belief(belief.mean.unsqueeze(-2), belief.covariance.unsqueeze(-3))
        columns = self.by_target(frames)[:, 0, 0]
        kept = self.look()
        recent = remember(live.recent, columns[:, [0, -1]], kept)
        said = self.of_recent(recent).to(kind.dtype)
        now = Now(said[:, 0], self.scaled(said[:, 1]))
        return Live(tuple(memory for _, memory in outcomes), belief, recent), now

    def look(self) -> int:
        """How many frames alignment may look back upon, the present one included."""
        if self.settings.alignment == "adaptive":
            return self.settings.reach + 1
        return max([0, *self.manual()]) + 1

    def of_recent(self, recent: Tensor) -> Tensor:
        """The present frame's columns (K, C) from the last frames' (K, T, C)."""
        if self.settings.alignment == "adaptive":
            return look_back(recent, *self.kernel())
        if self.settings.alignment == "manual":
            return held_back(recent, self.manual())
        return recent[:, -1]


class LstmKf(RecurrentFilter):
    """With the Kalman filter."""

    def believe(self, model: LinearModel, observations: Tensor, mask: Tensor) -> Belief:
        return filtered(model, observations, mask.expand(observations.shape[:-1]))

    def turn(self, model: LinearModel, belief: Belief, observed: Tensor | None) -> Belief:
        ahead = advance(belief, model)
        return ahead if observed is None else correct(ahead, model, observed)


class LstmEkf(RecurrentFilter):
    """With the extended Kalman filter, whose transition and observation are tanh."""

    def believe(self, model: LinearModel, observations: Tensor, mask: Tensor) -> Belief:
        return extended(model, observations, mask.expand(observations.shape[:-1]))

    def turn(self, model: LinearModel, belief: Belief, observed: Tensor | None) -> Belief:
        seen = torch.tensor(observed is not None)
        nothing = belief.mean.new_zeros(*belief.mean.shape[:-1], model.noise.shape[-1])
        return turn(belief, model, nothing if observed is None else observed, seen)
