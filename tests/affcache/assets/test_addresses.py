"""Assets behind an address: fetched whole, or refused in one clear line."""

from pathlib import Path

import pytest

from affcache import assets
from affcache.errors import AssetError
from tests.affcache.assets.making import WEIGHTS, WRONG, Fading, kept, know, remote, sha, web
from tests.affcache.test_cli import run


def test_an_address_is_fetched_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS)
    with web(tmp_path) as address:
        know(monkeypatch, remote(f"{address}/weights.bin"))
        assert assets.file("far").read_bytes() == WEIGHTS
    assert assets.file("far").read_bytes() == WEIGHTS


def test_an_address_with_another_file_is_refused_with_both_hashes(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS)
    with web(tmp_path) as address:
        know(monkeypatch, remote(f"{address}/weights.bin", digest=WRONG))
        with pytest.raises(AssetError) as error:
            assets.fetch("far")
    assert WRONG in str(error.value)
    assert sha(WEIGHTS) in str(error.value)
    assert kept(home) == set()


def test_an_address_that_sends_more_than_expected_is_cut_off(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS)
    with web(tmp_path) as address:
        know(monkeypatch, remote(f"{address}/weights.bin", size=100))
        with pytest.raises(AssetError, match="more than the expected 100 bytes"):
            assets.fetch("far")
    assert kept(home) == set()


@pytest.mark.parametrize("closed", [False, True], ids=["404", "nobody there"])
def test_an_address_that_does_not_answer_is_one_clear_line(
    closed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with web(tmp_path) as address:
        know(monkeypatch, remote(f"{address}/absent.bin"))
        if not closed:
            status, _, err = run(capsys, "assets", "fetch", "far")
    if closed:
        status, _, err = run(capsys, "assets", "fetch", "far")
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot be fetched" in err
    assert "--from FILE" in err


def test_a_transfer_that_breaks_off_is_said(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web(tmp_path, Fading) as address:
        know(monkeypatch, remote(f"{address}/weights.bin"))
        with pytest.raises(AssetError, match=f"broke off after 100 of {len(WEIGHTS)} bytes"):
            assets.fetch("far")
    assert kept(home) == set()
