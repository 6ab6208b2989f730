"""A writer of several videos, as extraction is one: what the crash tests start, kill and repeat."""

from pathlib import Path

import numpy as np

from affcache import publish, store

FIELDS = {"format": 1, "backbone": {"name": "test"}}
VIDEOS = tuple(f"v{number}" for number in range(5))


def rows(video_id: str, count: int = 40) -> dict[str, np.ndarray]:
    """The rows of a video, always the same for the same id."""
    rng = np.random.default_rng([ord(c) for c in video_id])
    valid = rng.random(count) > 0.2
    hidden = ~valid
    arrays = {
        "features": rng.normal(size=(count, 64)),
        "valid": valid,
        "time": np.arange(count) / 25,
        "box": rng.random((count, 4)),
        "landmarks": rng.random((count, 5, 2)),
        "score": rng.random(count),
    }
    arrays["features"][hidden] = 0
    for name in ("box", "landmarks", "score"):
        arrays[name][hidden] = np.nan
    return arrays


def write_all(path: Path, log: Path | None = None) -> None:
    """Publish every video that is not there yet, label it, and seal the cache."""
    publish.create(path, "test", FIELDS, {})
    with store.unsealed(path):
        for video_id in VIDEOS:
            with publish.claim(path, video_id) as mine:
                if mine and publish.published_fingerprint(path, video_id) is None:
                    write_one(path, video_id)
                    if log is not None:
                        with log.open("a") as file:
                            file.write(f"{video_id}\n")
        for video_id in store.Cache(path).video_ids():
            labels = rows(video_id)["box"][:, :2]
            store.write_labels(path, video_id, {"va": labels}, {"subject": video_id})


def write_one(path: Path, video_id: str) -> None:
    """Stream one video in four pieces and publish it."""
    arrays = rows(video_id)
    with publish.VideoWriter(path, video_id, {}) as video:
        for start in range(0, 40, 10):
            video.append({name: part[start : start + 10] for name, part in arrays.items()})
        fingerprint = publish.video_fingerprint(FIELDS, "largest", video_id)
        attributes = {"face": "largest", "source_sha256": video_id, "fingerprint": fingerprint}
        video.publish(attributes | {"fps": 25.0})
