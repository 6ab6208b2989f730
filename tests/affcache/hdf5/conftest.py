"""A cache with everything that a cache can hold, and the same as one HDF5 file."""

import json
from pathlib import Path

import numpy as np
import pytest

from affcache import hdf5, publish, store
from affcache.schema import ArraySpec
from tests.caches import FIELDS, make_cache


def rich_cache(path: Path) -> Path:
    """A cache with everything a cache can hold: streams, all label arrays, two pseudo sets."""
    make_cache(path, videos=3, frames=[120, 7, 1], width=40, subjects=3)
    stream = ArraySpec(
        dims=("frame", "band", "bin"), dtype="float16", sizes=(3, 2), meaning="bands"
    )
    document = json.loads((path / "zarr.json").read_text())
    header = document["attributes"]["affcache"] | {"streams": ["audio"]}
    with store.unsealed(path):
        store.write_group(path, {"affcache": header, "note": "ä\n", "x": [1, None, {"k": 2.5}]})
        with publish.VideoWriter(path, "with-stream", {"audio": stream}) as video:
            count = 30
            video.append(
                {
                    "features": np.arange(count * 40.0).reshape(count, 40),
                    "valid": np.ones(count, bool),
                    "time": np.arange(count) / 30,
                    "audio": np.full((count, 3, 2), -0.5),
                }
            )
            want = publish.video_fingerprint(FIELDS, "given", "s")
            video.publish({"face": "given", "source_sha256": "s", "fingerprint": want, "fps": 30.0})
        rng = np.random.default_rng(0)
        labels = {
            "expr": rng.integers(-1, 7, 30),
            "au": rng.integers(-1, 2, (30, 12)),
            "au_intensity": np.where(rng.random((30, 4)) < 0.5, np.nan, 1.5),
        }
        store.write_labels(path, "with-stream", labels, {"subject": "p", "split": {"au": "train"}})
        for name in ("readout", "teacher"):
            rows = {i: {"va": np.full((n, 2), 0.25)} for i, n in (("v00", 120), ("v01", 7))}
            store.write_pseudo(path, name, {"method": name, "alpha": 1e-3, "n": 3}, rows)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_cache(tmp_path_factory.mktemp("rich") / "x.zarr")


@pytest.fixture(scope="module")
def exported(cache: Path) -> Path:
    target = cache.with_name("x.h5")
    hdf5.export(cache, target)
    return target
