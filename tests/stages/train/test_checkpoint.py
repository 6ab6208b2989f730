"""Checkpoints as files: who may read them, and what a full disk does to them."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from torch import nn

from affcache.errors import StorageError
from stages.train.checkpoint import Standing, load, save


def test_a_checkpoint_can_be_read_by_whom_the_umask_lets_read(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        save(tmp_path / "best.safetensors", nn.Linear(2, 2), Standing())
    finally:
        os.umask(umask)
    assert (tmp_path / "best.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    path, model = tmp_path / "last.safetensors", nn.Linear(64, 64)
    save(path, model, Standing(iteration=1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"last.safetensors: cannot write .*make room"):
            save(path, model, Standing(iteration=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert load(path, model).iteration == 1
