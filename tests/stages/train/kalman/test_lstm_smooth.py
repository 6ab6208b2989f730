"""The paper's baseline: what it smooths, over which frames, and that training sees none of it."""

import dataclasses

import torch

from stages.train.heads import Sizes, Windows
from stages.train.heads.lstm_smooth import SmoothedLstm
from stages.train.kalman.alignment import smoothed
from stages.train.recipe import load

SIZES = Sizes({"features": 8}, {"va": ("valence", "arousal")}, 25.0)


def make(seconds: float) -> SmoothedLstm:
    torch.manual_seed(0)
    settings = dataclasses.replace(load("lstm-smooth").model, smoothing_seconds=seconds)
    return SmoothedLstm(SIZES, settings).eval()


def some_windows() -> Windows:
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(2, 90, 8, generator=draw)
    labels = torch.rand(2, 90, 2, generator=draw) * 2 - 1
    return Windows(features, labels, labels, torch.rand(2, 90, generator=draw) < 0.8)


def test_it_smooths_what_the_lstm_says_of_frames_with_a_face() -> None:
    windows = some_windows()
    rough, smooth = make(0.0).predict(windows).mean, make(0.2).predict(windows).mean
    expected = smoothed(rough.nan_to_num(nan=1e6), windows.mask, 5.0)
    here = windows.mask
    torch.testing.assert_close(smooth[here], expected[here])
    assert smooth[~here].isnan().all()
    assert smooth[here].diff(dim=0).abs().mean() < rough[here].diff(dim=0).abs().mean()


def test_training_sees_nothing_of_it() -> None:
    losses = [make(s).loss(some_windows(), torch.Generator())["loss"] for s in (0.0, 0.5)]
    assert losses[0] == losses[1]


def test_it_has_a_network_of_the_papers_layers_per_dimension() -> None:
    network = (8 * 29 + 29) + (29 * 16 + 16) + 4 * 16 * (16 + 16 + 2) + 17
    assert sum(p.numel() for p in make(0.5).parameters()) == 2 * network
