"""The bench of the demo's people, in small: it runs on what the rest of the code is today."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bench.bench_demo_people import folds_of, measure, report
from tests.caches import make_cache


def test_every_person_is_a_test_person_once_and_never_a_training_one_then() -> None:
    people = [f"p{i:02d}" for i in range(13)]

    folds = folds_of(people, 4)

    tested = [name for split in folds for name, part in split.items() if part == "test"]
    assert sorted(tested) == people
    for split in folds:
        assert list(split.values()).count("validation") == 2


def test_every_contender_has_a_score_for_every_person(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "c.zarr", videos=12, frames=60, width=16, subjects=6)

    results = measure(cache, 3, 1, "ap-demo", ["training.epochs=1", "training.iterations=2"])
    report(results)

    assert set(results) == {"pseudo-labels", "trailing mean", "ap"}
    for by_person in results.values():
        scores = np.array([by_person[f"p{i:02d}"] for i in range(6)])
        assert scores.shape == (6, 1)
        assert np.isfinite(scores).all()
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]  # what it trained is gone
