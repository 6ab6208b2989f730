"""Kalman-RNNs as heads: live as in a batch, masks, delays, what they report, what they refuse."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from affcache.errors import RecipeError
from affcache.sequences import Sequence
from stages.train.heads import Sizes, Windows, head_class
from stages.train.heads.kalman import RecurrentFilter
from stages.train.kalman.alignment import raw_delay
from stages.train.kalman.manual import best_delays
from stages.train.recipe import load

SIZES = Sizes({"features": 12}, {"va": ("valence", "arousal")}, 25.0)
BOTH = pytest.mark.parametrize("name", ["lstm-kf", "lstm-ekf"])


def make(name: str, **changes: Any) -> RecurrentFilter:
    torch.manual_seed(0)
    settings = dataclasses.replace(load(name).model, **changes)
    head = head_class(name)(SIZES, settings).eval()
    assert isinstance(head, RecurrentFilter)
    return head


def some_windows(frames: int = 150, missing: float = 0.2) -> Windows:
    draw = torch.Generator().manual_seed(5)
    mask = torch.rand(2, frames, generator=draw) >= missing
    features = torch.randn(2, frames, 12, generator=draw).masked_fill(~mask[..., None], 0)
    labels = (torch.rand(2, frames, 2, generator=draw) * 2 - 1).masked_fill(
        ~mask[..., None], torch.nan
    )
    return Windows(features, labels, labels, mask)


def lived(head: RecurrentFilter, windows: Windows, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What `step` says of one row's frames."""
    live, said = head.begin(), []
    for x, there in zip(windows.features[row], windows.mask[row], strict=True):
        live, now = head.step(live, x if there else None)
        said.append(now)
    return torch.stack([now.mean for now in said]), torch.stack([now.std for now in said])


def close(found: torch.Tensor, expected: torch.Tensor, within: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=within)


@BOTH
@pytest.mark.parametrize("state", ["single", "joint"])
@pytest.mark.parametrize("alignment", ["none", "adaptive", "manual"])
@torch.inference_mode()
def test_frame_by_frame_it_says_what_it_says_of_the_batch(
    name: str, state: str, alignment: str
) -> None:
    head, windows = make(name, state=state, alignment=alignment, delays="0.4,0.2"), some_windows()
    if alignment == "adaptive":
        head.delay.fill_(raw_delay(25.0))
    batch = head.predict(windows)
    assert batch.std is not None
    for row in range(2):
        mean, std = lived(head, windows, row)
        close(mean, batch.mean[row])
        close(std, batch.std[row])


@pytest.mark.parametrize("delay", [-20.0, 0.0, 1.0])
@torch.inference_mode()
def test_without_the_future_it_follows_what_a_causal_kernel_says(delay: float) -> None:
    head, windows = make("lstm-kf", alignment="adaptive"), some_windows()
    head.delay.fill_(raw_delay(delay))
    batch = head.follow(windows)
    mean, std = lived(head, windows, 1)
    assert batch.std is not None
    close(mean, batch.mean[1])
    close(std, batch.std[1])
    assert (head.predict(windows).mean - batch.mean).abs().max() > 1e-3


@torch.inference_mode()
def test_following_never_looks_ahead_and_predicting_with_a_delay_hardly_does() -> None:
    head, windows = make("lstm-kf", alignment="adaptive"), some_windows(missing=0)
    later = windows._replace(features=windows.features.clone())
    later.features[:, 100:] = 7.0
    close(head.follow(later).mean[:, :100], head.follow(windows).mean[:, :100], 0)
    head.delay.fill_(raw_delay(12.0))
    close(head.predict(later).mean[:, :100], head.predict(windows).mean[:, :100], 1e-6)


@BOTH
@torch.inference_mode()
def test_without_a_face_it_goes_on_more_and_more_vaguely_until_it_sees_one(name: str) -> None:
    head, windows = make(name), some_windows(missing=0)
    windows.mask[:, 60:90] = False
    said = head.predict(windows)
    assert said.mean.isfinite().all()
    assert said.std is not None
    until = 90 if name == "lstm-kf" else 63  # where tanh bends, moving on may make surer, too
    assert (said.std[:, 59:until].diff(dim=1) > 0).all()
    assert (said.std[:, 90] < said.std[:, 89]).all()


def test_a_scale_of_the_deviations_moves_nothing_else() -> None:
    head, windows = make("lstm-kf", alignment="adaptive").train(), some_windows()
    terms = head.loss(windows, torch.Generator())
    (terms["ccc"] + terms["derivatives"]).backward()
    assert head.scale.grad is None
    head.zero_grad()
    head.loss(windows, torch.Generator())["scale"].backward()
    moved = {name for name, p in head.named_parameters() if p.grad is not None}
    assert moved == {"scale"}


def test_the_noises_times_any_number_leave_the_course_as_it_is() -> None:
    head, windows = make("lstm-kf"), some_windows()
    once = head.predict(windows)
    with torch.no_grad():
        for raw in (head.space.process, head.space.noise):
            raw.copy_((7 * torch.nn.functional.softplus(raw)).expm1().log())
    again = head.predict(windows)
    close(again.mean, once.mean, 1e-5)
    assert once.std is not None
    assert again.std is not None
    close(again.std, once.std * 7**0.5, 1e-5)


def test_the_layers_are_those_of_the_paper() -> None:
    head = make("lstm-kf")
    # IV.C: 29, 16, LSTM 16 and 3; F and H 3 x 3, q and r 3; and the deviations' scale
    network = (12 * 29 + 29) + (29 * 16 + 16) + 4 * 16 * (16 + 16 + 2) + (16 * 3 + 3)
    assert sum(p.numel() for p in head.parameters()) == 2 * (network + 9 + 9 + 3 + 3) + 2
    joint = make("lstm-kf", state="joint")
    network += 16 * 3 + 3
    assert sum(p.numel() for p in joint.parameters()) == network + 36 + 36 + 6 + 6 + 2


def test_delays_are_reported_in_frames_and_seconds() -> None:
    head = make("lstm-kf", alignment="adaptive")
    with torch.no_grad():
        head.delay.copy_(torch.tensor([raw_delay(50.0), raw_delay(-25.0)]))
    report = head.report()
    assert report["delay_frames.valence"] == pytest.approx(50, abs=1e-4)
    assert report["delay_seconds.arousal"] == pytest.approx(-1, abs=1e-5)
    assert report["sigma_frames.valence"] == pytest.approx(1.3132617**0.5, abs=1e-6)
    assert make("lstm-kf").report() == {}
    assert make("lstm-kf", alignment="manual", delays="1,2").report() == {
        "delay_frames.valence": 25,
        "delay_seconds.valence": 1.0,
        "delay_frames.arousal": 50,
        "delay_seconds.arousal": 2.0,
    }


def test_rates_name_parameters() -> None:
    head = make("lstm-kf", alignment="adaptive")
    assert head.rates().keys() <= dict(head.named_parameters()).keys()
    assert head.rates()["delay"] == 20


@pytest.mark.parametrize("delays", ["1.0", "1,2,3", "one,two", "nan,1"])
def test_delays_that_are_not_one_number_a_target_are_refused(delays: str) -> None:
    with pytest.raises(
        RecipeError, match=r'expected 2 numbers.*\(valence, arousal\).*"search"|search'
    ):
        make("lstm-kf", alignment="manual", delays=delays)


def sequences(lag: int, count: int = 6, frames: int = 300) -> list[Sequence]:
    """Features of which a few show a slow course that the labels show `lag` frames later."""
    draw, found = np.random.default_rng(0), []
    for number in range(count):
        noise = draw.normal(size=(frames + 400, 2))
        course = np.stack([np.convolve(n, np.hanning(40), "same") for n in noise.T], 1) / 4
        shown = course[200 : 200 + frames] @ draw.normal(size=(2, 3))
        features = np.concatenate([shown, draw.normal(size=(frames, 9))], 1).astype(np.float16)
        labels = np.tanh(course[200 - lag : 200 - lag + frames]).astype(np.float32)
        labels[draw.random(frames) < 0.1] = np.nan
        valid = draw.random(frames) >= 0.1
        features[~valid] = 0
        counted = valid & np.isfinite(labels).all(1)
        name = f"v{number}"
        time = np.arange(frames) / 25
        found.append(
            Sequence(
                id=name,
                subject=name,
                features=features,
                pseudo=labels,
                labels=labels,
                counted=counted,
                valid=valid,
                time=time,
            )
        )
    return found


@pytest.mark.parametrize("lag", [-31, 0, 42])
def test_manual_alignment_finds_a_lag_of_either_sign_and_a_checkpoint_keeps_it(lag: int) -> None:
    assert best_delays(sequences(lag), 60) == pytest.approx([lag, lag], abs=2)
    head = make("lstm-kf", alignment="manual", reach=60)
    head.prepare(sequences(lag))
    again = make("lstm-kf", alignment="manual", reach=60)
    again.load_state_dict(head.state_dict())
    assert again.manual() == head.manual() == best_delays(sequences(lag), 60)


def test_delays_that_are_given_are_not_searched_for() -> None:
    head = make("lstm-kf", alignment="manual", delays="0.4,0.8")
    head.prepare(sequences(42))
    assert head.manual() == [10, 20]


def test_every_row_of_the_papers_tables_has_a_recipe() -> None:
    for kind in ("kf", "ekf"):
        for more, alignment in (("", "none"), ("-ma", "manual"), ("-aa", "adaptive")):
            recipe = load(recipe=f"lstm-{kind}{more}")
            assert (recipe.head, recipe.model.alignment) == (f"lstm-{kind}", alignment)
        for more in ("-joint", "-aa-joint"):
            assert load(recipe=f"lstm-{kind}{more}").model.state == "joint"
    assert load(recipe="lstm-kf-aa").optimiser.learning_rate == 1e-3
    assert load(recipe="lstm-ekf-aa").model.reach == 100


def test_frames_before_the_delayed_moment_and_the_warm_up_are_not_learnt_from() -> None:
    head = make("lstm-kf", alignment="adaptive")
    with torch.no_grad():
        head.delay.copy_(torch.tensor([raw_delay(40.0), raw_delay(-30.0)]))
    inside = head.inside(300)
    assert inside[:, 0].tolist() == [t >= 40 + 25 for t in range(300)]
    assert inside[:, 1].tolist() == [t < 300 - 30 for t in range(300)]
    assert head.inside(40)[:, 0].any()
    windows = some_windows(300, missing=0)
    other = windows._replace(labels=windows.labels.clone())
    other.labels[:, :65, 0], other.labels[:, 270:, 1] = 0.9, -0.9
    terms = [head.loss(w, torch.Generator()) for w in (windows, other)]
    assert terms[0]["ccc"] == terms[1]["ccc"]
