"""Networks of several streams: who hears what, in which order, and what a window's median is."""

import numpy as np
import pytest
import torch
from torch import Tensor

from affcache.targets import FIXED
from stages.train.heads import Head, Sizes, Windows, head_class
from stages.train.heads.affwildnet import AffWildNet
from stages.train.heads.audiovisual import AudioVisual, AudioVisualSettings
from stages.train.heads.multirnn import MultiRnn, MultiRnnSettings
from stages.train.heads.multitask import MultiTask, MultiTaskSettings, RecurrentSettings
from stages.train.recipe import load
from stages.train.training.starting import fit

VA = {"va": FIXED["va"]}
LEVELS = {"low": 5, "mid": 4, "high": 3, "landmarks": 10}
NETWORKS = ("cnn-1rnn", "cnn-3rnn", "fusion-fc", "fusion-rnn")


def network(name: str, estimate: str = "frame") -> MultiRnn:
    torch.manual_seed(0)
    settings = MultiRnnSettings(width=8, units=6, estimate=estimate)
    head = head_class(name)(Sizes(LEVELS, VA, 25.0), settings).eval()
    assert isinstance(head, MultiRnn)
    return head


def windows(width: int, targets: int = 2, frames: int = 9) -> Windows:
    draw = torch.Generator().manual_seed(2)
    labels = torch.rand(3, frames, targets, generator=draw)
    mask = torch.ones(3, frames, dtype=torch.bool)
    mask[1, 4:] = False
    return Windows(torch.randn(3, frames, width, generator=draw), labels, labels, mask)


def influence(head: Head, given: Windows, columns: slice) -> Tensor:
    """Gradient of the last frame's prediction with respect to a stream."""
    features = given.features.clone().requires_grad_()
    head.predict(given._replace(features=features)).mean[0, -1].sum().backward()
    assert features.grad is not None
    return features.grad[0, :, columns]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stream_and_every_frame_before_is_heard(name: str) -> None:
    head = network(name)
    for stream in LEVELS:
        heard = influence(head, windows(22), head.sizes.stream(stream))
        assert (heard != 0).any(-1).all(), stream


@pytest.mark.parametrize(("name", "grus"), [*zip(NETWORKS, (1, 3, 4, 5), strict=True)])
def test_a_network_has_as_many_grus_as_the_paper_draws(name: str, grus: int) -> None:
    parts = [m for m in network(name).modules() if isinstance(m, torch.nn.GRU)]
    assert len(parts) == grus
    assert [m.num_layers for m in parts][:4] == [2] * min(grus, 4)


def test_no_frame_hears_what_comes_after_it() -> None:
    head, given = network("fusion-rnn"), windows(22)
    later = given.features.clone()
    later[:, 5:] += 1
    said = head.predict(given._replace(features=later)).mean[:, :5]
    torch.testing.assert_close(said, head.predict(given).mean[:, :5], equal_nan=True)


def test_a_windows_estimate_is_the_median_of_its_frames() -> None:
    given = windows(22)
    per_frame = network("cnn-3rnn").predict(given).mean.detach().numpy()
    per_window = network("cnn-3rnn", "window").predict(given).mean.detach().numpy()
    for row in range(3):
        there = given.mask[row].numpy()
        median = np.median(per_frame[row, there], axis=0)
        np.testing.assert_allclose(per_window[row, there], np.tile(median, (there.sum(), 1)))
        assert np.isnan(per_window[row, ~there]).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_utterances_have_a_recipe_of_their_own(name: str) -> None:
    assert load(recipe=f"{name}-omg").model.estimate == "window"
    assert load(recipe=f"{name}-omg").head == load(name).head == name


def test_affwildnet_hears_landmarks_where_there_are_some() -> None:
    sizes = Sizes({"features": 4, "landmarks": 10}, VA, 25.0)
    head = AffWildNet(sizes, RecurrentSettings(width=8, units=6)).eval()
    assert (influence(head, windows(14), sizes.stream("landmarks")) != 0).all()
    assert AffWildNet(Sizes({"features": 4}, VA, 25.0), RecurrentSettings(width=8)).sizes


BOTH = Sizes({"features": 4, "audio": 3}, VA, 25.0)


def audiovisual(stage: str) -> AudioVisual:
    torch.manual_seed(0)
    return AudioVisual(BOTH, AudioVisualSettings(width=8, units=6, stage=stage)).eval()


def test_streams_that_are_trained_apart_share_nothing() -> None:
    head, given = audiovisual("apart"), windows(7)
    deaf = given._replace(features=given.features.clone())
    deaf.features[..., BOTH.stream("audio")] = 0
    seen, unseen = (head.loss(one, torch.Generator()) for one in (given, deaf))
    assert seen["features va"] == unseen["features va"]
    assert seen["audio va"] != unseen["audio va"]
    assert seen["loss"].item() == pytest.approx((seen["features va"] + seen["audio va"]).item())


def test_what_was_trained_apart_fits_where_both_are_fused() -> None:
    apart, together = (audiovisual(stage) for stage in ("apart", "together"))
    for parameter in apart.parameters():
        parameter.data.fill_(0.25)
    fresh = fit(together, apart.state_dict(), "the run", alike=True)
    assert {name.split(".")[0] for name in fresh} == {"fusion", "output"}
    assert all((p == 0.25).all() for p in together.streams.parameters())


def test_a_head_of_other_tasks_keeps_everything_but_the_output_layer() -> None:
    settings = MultiTaskSettings(width=8)
    affect = MultiTask(Sizes({"features": 4}, VA, 25.0), settings)
    everything = MultiTask(Sizes({"features": 4}, dict(FIXED), 25.0), settings)
    fresh = fit(everything, affect.state_dict(), "the run", alike=False)
    assert fresh == ["output.weight", "output.bias"]
    pairs = zip(everything.body.parameters(), affect.body.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
