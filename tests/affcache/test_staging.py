"""Replacing a folder: whoever looks finds the old one or the new one, and nothing is left over."""

import ctypes
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from affcache.staging import install


def made(folder: Path, text: str) -> Path:
    (folder / "c").mkdir(parents=True)
    (folder / "c" / "0").write_text(text)
    return folder


@pytest.mark.parametrize("system", ["in one step", "by renames"])
def test_a_folder_takes_the_place_of_another(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "by renames":
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    target = tmp_path / "there" / "video"
    target.parent.mkdir()
    install(made(tmp_path / "fresh", "first"), target)
    install(made(tmp_path / "fresh", "second"), target)
    assert (target / "c" / "0").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_a_crash_left_between_the_renames_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    made(tmp_path / "fresh.aside", "left")
    target = made(tmp_path / "target", "first")
    install(made(tmp_path / "fresh", "second"), target)
    assert (target / "c" / "0").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "renameat2"), reason="this system swaps by several renames"
)
def test_nobody_ever_finds_nothing(tmp_path: Path) -> None:
    target = made(tmp_path / "target", "0")
    missed, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            missed.extend([None] * (not target.exists()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for turn in range(300):
            install(made(tmp_path / "fresh", str(turn)), target)
    finally:  # or the watcher would outlive a failure, and with it the tests
        done.set()
        watcher.join()
    assert not missed
