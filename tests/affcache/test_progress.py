"""Progress off a terminal: a line now and then says how far, how fast and how long still."""

import re

import pytest

from affcache import progress


def test_lines_say_how_far_and_how_long_still_once_there_is_a_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with progress.Progress("extract", 4, "frames") as shown:
        shown.advance(0, "a.mp4")
        shown.advance(2)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "extract: 0/4 frames, 0.0 frames/s a.mp4"
    assert re.fullmatch(r"extract: 2/4 frames, \d+ s left, \d+\.\d frames/s a\.mp4", second)


def test_bytes_are_told_in_units_of_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with progress.Progress("push", None, "bytes") as shown:
        shown.advance(3_000_000)
    assert re.fullmatch(r"push: 3\.0 MB, .*B/s\n", capsys.readouterr().err)
