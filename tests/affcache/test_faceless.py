"""A cache without boxes, landmarks and scores: features that others extracted have none."""

from pathlib import Path

import numpy as np
import pytest

from affcache import publish, store, verify
from affcache.errors import CacheError
from tests.affcache.test_publish import FIELDS
from tests.affcache.test_verify import consistent


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    publish.create(path, "test", FIELDS, {})
    with store.unsealed(path), publish.VideoWriter(path, "v1", {}) as video:
        video.append(arrays)
        want = publish.video_fingerprint(FIELDS, "given", "s")
        video.publish({"face": "given", "source_sha256": "s", "fingerprint": want})
    return path


def only(*names: str) -> dict[str, np.ndarray]:
    return {name: rows for name, rows in consistent(9, 0).items() if name in names}


def test_features_valid_and_time_are_enough(tmp_path: Path) -> None:
    cache = write(tmp_path / "x.zarr", only("features", "valid", "time"))
    assert verify.verify(cache) == []


@pytest.mark.parametrize("name", ["features", "valid", "time"])
def test_a_cache_without_one_of_the_three_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(CacheError, match=name):
        write(tmp_path / "x.zarr", only(*{"features", "valid", "time"} - {name}))


def test_boxes_that_are_there_are_still_held_to_their_promise(tmp_path: Path) -> None:
    arrays = only("features", "valid", "time") | {"box": np.ones((9, 4))}
    faults = verify.verify(write(tmp_path / "x.zarr", arrays))
    assert [(f.kind, f.array) for f in faults] == [("values", "box")]
