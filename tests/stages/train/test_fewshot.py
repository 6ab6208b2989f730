"""Few-shot compound expressions: a network fine-tuned on some videos names the frames of others."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score

from affcache.cli import main
from affcache.errors import RunError
from affcache.store import Cache
from affcache.windows import Sequence as FrameSequence
from stages.simulate.settings import Process
from stages.train.data import for_run
from stages.train.experiments.fewshot import FewShot, FewShotSettings, examples, fine_tuned
from stages.train.heads import Sizes, Windows
from stages.train.heads.multitask import (
    MultiTask,
    MultiTaskGru,
    MultiTaskSettings,
    RecurrentSettings,
)
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome
from tests.stages.train.multitask_world import short, small_world

NAMES = ("quiet", "open", "frowning", "frowning open")  # number: 2 x (AU4) + (AU26)
OWN = "".join(
    f"[[category]]\nname = '{name}'\nexpressions = ['Neutral']\nunits = [{unit}]\n"
    for name, unit in zip(NAMES, (12, 26, 4, 26), strict=True)
)


class World(NamedTuple):
    """A run on a simulated cache, and every frame's category by its true action units."""

    run: Path
    truth: dict[str, np.ndarray]
    categories: Path
    shots: Path
    labels: Path


def trained(folder: Path, cache: Path, recipe: str, *changes: str) -> Path:
    words = ["train", "--recipe", recipe, "--cache", cache, "--out", folder, "--device", "cpu"]
    rate = "optimiser.learning_rate=1e-3"
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), *short(rate, *changes)])
    assert end.value.code == 0
    return folder


def write(path: Path, lines: list[tuple[str, int, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("video", "frame", "category"), *lines])
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Examples: every tenth frame of twelve videos; scored: all frames of the twelve others."""
    folder = tmp_path_factory.mktemp("fewshot")
    clear = Process(noise_variance=0.05, offset_variance=0.0, annotator_variance=0.0)
    cache = small_world(folder / "sim.zarr", videos=24, drop={}, process=clear)
    enough = ("model.width=64", "windows.batch=32", "training.epochs=3", "training.iterations=100")
    run = trained(folder / "run", cache, "mt", *enough)
    (folder / "own.toml").write_text(OWN)
    opened = open_run(run)
    units, truth = opened.sizes.columns("au"), {}
    names = opened.sizes.targets["au"]
    for s in for_run(Cache(cache), opened.sizes, opened.config["pseudo"], {}):
        shown = s.labels[:, units]
        truth[s.id] = (2 * shown[:, names.index("AU4")] + shown[:, names.index("AU26")]).astype(int)
    lines = [(v, t, NAMES[c]) for v, own in truth.items() for t, c in enumerate(own)]
    given = [*truth][::2]
    shots = [line for line in lines if line[0] in given and line[1] % 10 == 0]
    labels = [line for line in lines if line[0] not in given]
    return World(
        run,
        truth,
        folder / "own.toml",
        write(folder / "shots.csv", shots),
        write(folder / "labels.csv", labels),
    )


def words(world: World, *more: object) -> list[object]:
    return ["compound", world.run, "--categories", world.categories, "--device", "cpu", *more]


def test_few_examples_beat_chance_on_videos_that_gave_none(
    world: World, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    more = ("--shots", world.shots, "--labels", world.labels, "--out", tmp_path)
    done = affcache(*words(world, *more, "--json"))
    assert done.status == 0, done.err
    document = json.loads(done.out)
    few = document["few_shot"]
    assert few["scores"]["UAR"] > 0.5  # chance is 0.25
    assert few["scores"]["frames"] == document["scores"]["frames"]
    assert all(few["shots"][name] > 0 for name in NAMES)
    said, true = [], []
    for video in [*world.truth][1::2]:
        with (tmp_path / "few-shot" / f"{video}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["category"]:
                    assert sum(float(row[name]) for name in NAMES) == pytest.approx(1, abs=1e-5)
                    said.append(row["category"])
                    true.append(NAMES[world.truth[video][int(row["frame"])]])
    assert len(said) == few["scores"]["frames"]
    assert few["scores"]["UAR"] == pytest.approx(recall_score(true, said, average="macro"))


def test_zero_shot_stays_what_it_is_without_examples_and_stands_beside_few_shot(
    world: World, affcache: Callable[..., Outcome]
) -> None:
    alone = json.loads(affcache(*words(world, "--labels", world.labels, "--json")).out)
    quick = ("--labels", world.labels, "--shots", world.shots, "--iterations", 2)
    both = json.loads(affcache(*words(world, *quick, "--json")).out)
    assert alone["few_shot"] is None
    assert both.pop("few_shot")["iterations"] == 2
    assert both == {k: v for k, v in alone.items() if k != "few_shot"}
    table = affcache(*words(world, *quick)).out
    assert "zero-shot" in table
    assert "few-shot" in table
    assert "UAR" in table


def test_a_seed_decides_the_result(world: World, affcache: Callable[..., Outcome]) -> None:
    def probabilities(seed: int) -> str:
        quick = ("--shots", world.shots, "--iterations", 3, "--seed", seed)
        assert affcache(*words(world, *quick)).status == 0
        folder = world.run / "compound" / "sim" / "few-shot"
        return "".join(path.read_text() for path in sorted(folder.glob("*.csv")))

    first = probabilities(1)
    assert probabilities(1) == first
    assert probabilities(2) != first


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nobody,0,quiet", "line 2: no video 'nobody' in the cache"),
        ("s2_v00000,0,loud", "line 2: category 'loud', expected one of quiet, open"),
        ("s2_v00001,0,quiet", "video 's2_v00001' is in --labels, too"),
        ("s2_v00000,0,quiet", "1 frames with a face, of 1 categories; expected examples of two"),
    ],
)
def test_shots_that_cannot_be_used_say_why(
    world: World, tmp_path: Path, affcache: Callable[..., Outcome], line: str, says: str
) -> None:
    shots = tmp_path / "shots.csv"
    shots.write_text(f"video,frame,category\n{line}\n")
    out = tmp_path / "out"
    done = affcache(*words(world, "--shots", shots, "--labels", world.labels, "--out", out))
    assert done.status == 2
    assert f"{shots}" in done.err
    assert says in done.err
    assert not out.exists()


def test_a_network_without_one_output_layer_is_refused(
    world: World, tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    cache = open_run(world.run).config["cache"]["path"]
    run = trained(tmp_path / "run", cache, "streaming", 'task="va+expr+au"', "training.epochs=1")
    done = affcache(*words(world._replace(run=run), "--shots", world.shots))
    assert done.status == 2
    assert "Streaming has no single output layer" in done.err
    assert "fine-tune a run of mt, mt-gru or facebehaviornet" in done.err


def test_a_run_of_one_task_is_refused(
    trained: Path, world: World, affcache: Callable[..., Outcome]
) -> None:
    done = affcache(*words(world._replace(run=trained), "--shots", world.shots))
    assert done.status == 2
    assert "does not predict expr, au" in done.err


SIZES = Sizes({"features": 5}, {"va": ("valence", "arousal")}, 30.0)


def test_a_frame_teaches_its_category_and_others_have_no_influence() -> None:
    torch.manual_seed(0)
    head = FewShot(MultiTask(SIZES, MultiTaskSettings(width=4, dropout=0.0)), 3)
    features, labels = torch.randn(2, 3, 5), torch.full((2, 3, 3), torch.nan)
    labels[0, 1], labels[1, 2] = torch.eye(3)[2], torch.eye(3)[0]
    mask = torch.ones(2, 3, dtype=torch.bool)
    windows = Windows(features, labels[..., :2], labels, mask)
    loss = head.loss(windows, torch.default_generator)["loss"]
    logits = head.logits(windows)
    rows = torch.stack([logits[0, 1], logits[1, 2]])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(rows, torch.tensor([2, 0])))
    features[0, 0] = 9.0
    torch.testing.assert_close(head.loss(windows, torch.default_generator)["loss"], loss)


def material(world: World) -> tuple[Sizes, list[FrameSequence], list[np.ndarray]]:
    opened = open_run(world.run)
    cache = Cache(Path(opened.config["cache"]["path"]))
    sequences = for_run(cache, opened.sizes, opened.config["pseudo"], {})
    return opened.sizes, sequences, [world.truth[s.id] for s in sequences]


@pytest.mark.parametrize("length", [0, 40])
def test_every_example_with_a_face_is_learnt_from_once(world: World, length: int) -> None:
    _, sequences, truth = material(world)
    batches = examples(sequences, truth, len(NAMES), length, torch.device("cpu"))
    faces = np.concatenate([t[s.valid] for s, t in zip(sequences, truth, strict=True)])
    assert sum(number for _, number in batches) == len(faces)
    found = sum(windows.labels.nan_to_num().sum((0, 1)) for windows, _ in batches)
    assert torch.as_tensor(found).tolist() == np.bincount(faces, minlength=len(NAMES)).tolist()


def test_all_weights_are_fine_tuned_with_memory_too(world: World) -> None:
    sizes, sequences, truth = material(world)
    network = MultiTaskGru(sizes, RecurrentSettings(width=8, units=4))
    before = {name: value.clone() for name, value in network.stream.state_dict().items()}
    settings = FewShotSettings(iterations=2)
    head = fine_tuned(network, sequences, truth, 4, 40, settings, torch.device("cpu"))
    assert not head.training
    after = head.network.stream.state_dict() if isinstance(head.network, MultiTaskGru) else {}
    assert all(not torch.equal(after[name], value) for name, value in before.items())


def test_weights_that_diverge_are_refused(world: World) -> None:
    sizes, sequences, truth = material(world)
    network = MultiTask(sizes, MultiTaskSettings(width=4, dropout=0.0))
    settings = FewShotSettings(iterations=5, learning_rate=1e30)
    with pytest.raises(RunError, match=r"diverged at a learning rate of 1e\+30; lower it"):
        fine_tuned(network, sequences, truth, 4, 40, settings, torch.device("cpu"))
