"""What is scored, and what there is too little of."""

import numpy as np

from affcache.targets import FIXED
from affcache.windows import Sequence
from stages.train.scoring import scores
from stages.train.sizes import Sizes

SIZES = Sizes({"features": 2}, {"va": FIXED["va"]}, 25.0)


def labelled(labels: np.ndarray) -> Sequence:
    """A video of as many frames as there are labels (T, 2), all of them with a face."""
    frames = len(labels)
    return Sequence(
        id="v",
        subject="p",
        features=np.zeros((frames, 2), np.float16),
        pseudo=np.full((frames, 2), np.nan, np.float32),
        labels=labels.astype(np.float32),
        counted=np.ones(frames, bool),
        valid=np.ones(frames, bool),
        time=np.arange(frames) / 25,
    )


def test_single_images_are_scored_together_and_never_one_by_one() -> None:
    draw = np.random.default_rng(0)
    images = [labelled(draw.uniform(-1, 1, (1, 2))) for _ in range(9)]
    said = [image.labels for image in images]
    assert scores(SIZES, images, said)["va"]["ccc_mean"] > 0.999
    assert scores(SIZES, images, said, "sequences") == {}


def test_a_task_without_two_frames_has_no_scores() -> None:
    one = labelled(np.zeros((1, 2)))
    assert scores(SIZES, [one], [one.labels]) == {}
