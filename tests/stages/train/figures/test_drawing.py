"""Pictures of predictions: what is on them, whatever was drawn before on the same figure."""

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.image import imread

from affcache.windows import Sequence
from stages.train.figures.drawing import Pictures
from stages.train.heads import Sizes
from stages.train.inference import Predicted

NUMBERS: dict[str, tuple[str, ...]] = {"va": ("valence", "arousal")}
CLASSES: dict[str, tuple[str, ...]] = {"expr": ("calm", "glad", "sad")}


def drawable(
    name: str, frames: int, targets: dict[str, tuple[str, ...]], attends: int = 0
) -> tuple[Sequence, Predicted]:
    """A video with gaps, labels in its second half, and predictions with everything there is."""
    draw = np.random.default_rng(frames)
    count = sum(map(len, targets.values()))
    labels = draw.random((frames, count)).round().astype(np.float32)
    labels[: frames // 2] = np.nan
    valid = draw.random(frames) > 0.2
    said = np.where(valid[:, None], draw.random((frames, count)), np.nan).astype(np.float32)
    sequence = Sequence(
        id=name,
        subject=name,
        features=np.zeros((frames, 2), np.float16),
        pseudo=said[:, ::-1].copy(),
        labels=labels,
        counted=valid,
        valid=valid,
        time=np.arange(frames) / 25,
    )
    more = {"attention": draw.random((frames, attends)).astype(np.float32)} if attends else {}
    return sequence, Predicted(said, said * 0 + 0.1, more)


def test_a_picture_does_not_depend_on_what_was_drawn_before(tmp_path: Path) -> None:
    for number, (targets, attends) in enumerate(
        [(NUMBERS, 0), (CLASSES, 0), (NUMBERS | CLASSES, 3)]
    ):
        sizes = Sizes({"features": 2}, targets, 25.0)
        used = Pictures(sizes, attends > 0)
        for name, frames in (("first", 900), ("short", 1), ("again", 200)):
            shown = drawable(name, frames, targets, attends)
            used.draw(tmp_path / f"used{number}.png", *shown)
        Pictures(sizes, attends > 0).draw(tmp_path / f"fresh{number}.png", *shown)
        used_again, fresh = (imread(tmp_path / f"{n}{number}.png") for n in ("used", "fresh"))
        np.testing.assert_array_equal(used_again, fresh)


def test_annotated_classes_are_lines_over_their_strips(tmp_path: Path) -> None:
    sequence, predicted = drawable("v", 10, CLASSES)
    sequence.labels[:] = np.nan
    sequence.labels[2:6] = [0, 1, 0]
    sequence.labels[6] = [0, 0, 1]  # a frame by itself is seen, too
    pictures = Pictures(Sizes({"features": 2}, CLASSES, 25.0), attends=False)
    pictures.draw(tmp_path / "v.png", sequence, predicted)
    (lines,) = pictures.panels[0].collections
    assert isinstance(lines, LineCollection)
    ends = [segment.tolist() for segment in lines.get_segments()]
    np.testing.assert_allclose(ends, [[[0.06, 1], [0.22, 1]], [[0.22, 2], [0.26, 2]]])
    (legend,) = pictures.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["annotation"]


def test_what_only_one_panel_shows_is_in_the_legend(tmp_path: Path) -> None:
    sequence, predicted = drawable("v", 40, NUMBERS | CLASSES)
    sequence.labels[:, :2] = np.nan
    sequence.pseudo[:, 0] = np.nan
    pictures = Pictures(Sizes({"features": 2}, NUMBERS | CLASSES, 25.0), attends=False)
    pictures.draw(tmp_path / "v.png", sequence, predicted)
    (legend,) = pictures.figure.legends
    shown = {text.get_text() for text in legend.get_texts()}
    assert shown == {"prediction", "± 1 std", "no face", "pseudo-labels", "annotation"}
