"""The command line's manners: one line for a mistake, a traceback only for who asks."""

from pathlib import Path

import pytest

from affcache import __version__
from affcache.cli import main
from tests.caches import make_cache


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--version")
    assert (status, __version__ in out) == (0, True)


def test_an_unknown_command_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "tarin")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "tarin" in err


def test_an_unknown_option_names_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "train", "--haed", "ap")
    assert status == 2
    assert err.count("\n") == 1
    assert "affcache train --help" in err


def test_a_missing_cache_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    status, _, err = run(capsys, "readout", "--cache", f"{tmp_path}/none.zarr", "--task", "va")
    assert status == 2
    assert err.count("\n") == 1
    assert "none.zarr" in err


@pytest.mark.parametrize("place", [0, 1, 5], ids=["first", "in the middle", "last"])
def test_debug_shows_the_exception_itself_wherever_it_stands(tmp_path: object, place: int) -> None:
    from affcache.errors import CacheError

    words = ["readout", "--cache", f"{tmp_path}/none.zarr", "--task", "va"]
    words.insert(place, "--debug")
    with pytest.raises(CacheError, match=r"none\.zarr"):
        main(words)


def test_what_the_system_refuses_is_said_without_numbers_and_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", tmp_path / "x.h5")

    monkeypatch.setattr("affcache.hdf5.export", refuse)
    status, _, err = run(capsys, "export", str(make_cache(tmp_path / "a.zarr")), "x.h5")
    assert (status, err) == (2, f"affcache: {tmp_path / 'x.h5'}: Permission denied\n")
