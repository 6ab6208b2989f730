"""What mt-gru-audio learns from: what is heard, and nothing that is seen."""

from pathlib import Path

import numpy as np
import torch

from affcache.publish import VideoWriter, create
from affcache.schema import ArraySpec
from affcache.store import Cache, seal, write_labels
from stages.train.data import for_run
from stages.train.device import choose
from stages.train.evaluation import means
from stages.train.jobs import Job, material, run_job
from stages.train.recipe import load
from stages.train.run import Run
from stages.train.scoring import headline, scores

AUDIO = {"audio": ArraySpec(dims=("frame", "audio"), dtype="float16", sizes=(None,), meaning="-")}
SHORT = ("task=va", "training.epochs=1", "training.iterations=60", "model.width=16")
SHORT = (*SHORT, "model.units=8", "windows.batch=8", "optimiser.learning_rate=5e-3")


def publish(path: Path, told: str) -> Path:
    """Twelve people of 90 frames; `told`, "features" or "audio", shows affect, the other noise."""
    draw = np.random.default_rng(5)
    mixing = draw.normal(size=(2, 12))
    create(path, "simulated", {"told": "somewhere"}, {})
    for number in range(12):
        video = f"v{number:02d}"
        va = np.sin(np.linspace(0, 9, 90)[:, None] + draw.uniform(0, 6, 2)).astype(np.float32) / 2
        shown = {"signal": va @ mixing, "noise": draw.normal(size=(90, 12))}
        arrays = {
            name: shown["signal" if name == told else "noise"].astype(np.float16)
            for name in ("features", "audio")
        }
        arrays |= {"valid": np.ones(90, bool), "time": np.arange(90) / 25}
        with VideoWriter(path, video, AUDIO) as writer:
            writer.append(arrays)
            writer.publish({"fps": 25.0, "fingerprint": video, "source_sha256": video})
        split = "train" if number < 9 else "test"
        write_labels(path, video, {"va": va}, {"subject": video, "split": {"va": split}})
    seal(path)
    return path


def trained(cache: Path, head: str, folder: Path) -> tuple[float, list[np.ndarray]]:
    job = Job(cache=cache, recipe=load(head, None, SHORT), device="cpu")
    run: Run = run_job(job, material(job), folder)
    test = for_run(Cache(cache), run.sizes, None, {}, "test")
    said = means(run, test, choose("cpu"))
    return headline(scores(run.sizes, test, said)), said


def test_the_audio_head_learns_what_is_heard_as_the_other_what_is_seen(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    heard = publish(tmp_path / "heard.zarr", "audio")
    seen = publish(tmp_path / "seen.zarr", "features")
    score, by_ear = trained(heard, "mt-gru-audio", tmp_path / "by-ear")
    _, by_eye = trained(seen, "mt-gru", tmp_path / "by-eye")
    assert score > 0.6
    for one, other in zip(by_ear, by_eye, strict=True):
        np.testing.assert_array_equal(one, other)  # the same network on the same numbers
