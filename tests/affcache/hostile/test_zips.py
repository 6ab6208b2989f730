"""Zips that no honest program makes: refused in one line, and nothing new lies beside them."""

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.affcache.copying.packed import end_of_directory, packed, poke, rezip, zip_of
from tests.affcache.hostile.ways import refused, unpack, use


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "videos/../../evil",
        "/etc/evil",
        "//server/evil",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "videos\\v9\\evil",
        "videos//evil",
        "./evil",
        "videos/./evil",
        "a/..",
        "..",
        "",
        "evil\0.txt",
        "evil\x1b[2J",
        "x" * 2000,
        "d/" * 1000 + "x",
        "x" * 300 + "/y",
    ],
)
def test_entries_that_leave_the_cache_are_refused(file: Path, name: str) -> None:
    refused(rezip(file, {name: b"evil"}), "leaves the cache|nested too deep|in the zip, but not")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_occurs_twice_is_refused(file: Path) -> None:
    refused(rezip(file, {"zarr.json": b"{}"}), "zarr.json' occurs twice")


def test_a_name_that_is_a_file_and_a_folder_is_refused(file: Path) -> None:
    refused(rezip(file, {"zarr.json/x": b"{}"}), "zarr.json' occurs twice")


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644, 0o060644, 0o140755, 0o040755])
def test_links_and_devices_are_refused(file: Path, mode: int) -> None:
    name = "videos/v00/time/c/0"
    hostile = poke(file, name, 38, (mode << 16).to_bytes(4, "little"))
    refused(hostile, "is a link, encrypted or of unknown method")


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (8, b"\1\0", "encrypted"),
        (10, b"\x0c\0", "unknown method"),
        (20, b"\xff\xff\0\0", "in another length"),
        (34, b"\1\0", "directory is damaged"),
        (42, b"\xf0\xff\xff\0", "longer than the room it has"),
        (28, b"\xff\xff", "directory is damaged|not named in UTF-8"),
        (30, b"\xff\xff", "directory is damaged"),
        (32, b"\xff\xff", "directory is damaged"),
        (0, b"PK\7\7", "directory is damaged"),
    ],
)
def test_directory_records_that_lie_are_refused(
    file: Path, offset: int, value: bytes, match: str
) -> None:
    refused(poke(file, "videos/v00/time/c/0", offset, value), match)


def test_entries_that_share_their_bytes_are_refused(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        other = archive.getinfo("videos/v00/box/c/0/0").header_offset
    hostile = poke(file, "videos/v01/box/c/0/0", 42, other.to_bytes(4, "little"))
    refused(hostile, "longer than the room it has")


def test_a_local_header_that_contradicts_the_directory_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo("videos/v01/valid/c/0").header_offset
    data = bytearray(file.read_bytes())
    data[at + 30] ^= 1
    file.write_bytes(data)
    refused(file, "videos/v01/valid/c/0 is damaged")


@pytest.mark.parametrize("end", [(65535, 0, 0), (1, 46, 1 << 31), (9, 4000, 0), (0, 0, 7)])
def test_an_end_record_that_lies_is_refused(tmp_path: Path, end: tuple[int, int, int]) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\3\4" + bytes(5000) + end_of_directory(*end))
    refused(tmp_path / "x.zip", "directory is damaged")


def test_a_zip_without_a_cache_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(["a", "b/c"]))
    refused(tmp_path / "x.zip", "no cache here", use)
    refused(tmp_path / "x.zip", "has no .affcache/seal.json", unpack)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_thousands_of_entries_are_refused_without_ado(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of([f"{i}" for i in range(20_000)] + ["5"] * 2))
    refused(tmp_path / "x.zip", "occurs twice")


def test_a_compressed_pack_is_not_opened_but_says_what_to_do(made: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(made, tmp_path / "x.zarr"))
    refused(packed(cache, compress=True), "cold storage.*affcache unpack", use)
