"""The attention below the traces: which frame and which distance a weight is drawn at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from stages.train.figures.attention import draw_attention
from tests.stages.train.conftest import Outcome
from tests.stages.train.simulated import simulate


def test_each_weight_lies_at_its_frame_and_its_distance() -> None:
    attention = np.zeros((10, 4), np.float32)
    attention[6, 3] = 0.7  # one frame before
    attention[6, 0] = 0.3  # the empty state
    attention[2] = np.nan
    panel = Figure().add_subplot()
    draw_attention(panel, np.arange(10) / 25, attention)
    (image,) = panel.get_images()
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == pytest.approx((-0.02, 0.38, 0.5, 4.5))
    shown = image.get_array()
    assert image.origin == "lower"
    assert shown is not None
    assert shown[0, 6] == pytest.approx(0.7)
    assert shown[3, 6] == pytest.approx(0.3)
    assert shown.mask[:, 2].all()
    assert image.get_clim() == pytest.approx((0, 0.7))
    ticks = [label.get_text() for label in panel.get_yticklabels()]
    assert ticks == ["1", "2", "3", "start"]


def test_a_video_without_any_face_is_drawn_empty() -> None:
    panel = Figure().add_subplot()
    draw_attention(panel, np.zeros(1), np.full((1, 2), np.nan))
    assert [label.get_text() for label in panel.get_yticklabels()] == ["1", "start"]


def test_predict_writes_and_draws_the_attention(
    tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    cache = simulate(tmp_path / "one.zarr", people=(1, 0, 0), frames=60)
    short = ("training.epochs=1", "training.iterations=2", "windows.batch=4", "model.state=5")
    changes = [word for change in short for word in ("--set", change)]
    run = tmp_path / "run"
    done = affcache("train", "--cache", cache, "--head", "anclaf-sa", "--out", run, *changes)
    assert done.status == 0, done.err
    done = affcache("predict", run, cache, "--out", run / "out")
    assert done.status == 0, done.err
    assert imread(run / "out" / "v000.png").shape[0] > 3 * 2.4 * 110  # three panels, not two
    with np.load(run / "out" / "v000.npz") as arrays:
        attention = arrays["attention"]
    assert attention.shape == (60, 8)
    seen = np.isfinite(attention).all(axis=1)
    np.testing.assert_allclose(attention[seen].sum(axis=1), 1, rtol=1e-5)
