"""Caches in every kind of place, and zips that no honest program makes."""

import io
import json
import struct
import zipfile
from pathlib import Path

from affcache.copying.contents import contents
from affcache.copying.pack import write_pack
from affcache.copying.selection import parse_selection
from affcache.copying.unpack import packed_contents, write_folder
from affcache.store import Cache


def packed(cache: Path, name: str = "x.zarr.zip", **options: bool) -> Path:
    """The cache as one file beside its folder."""
    target = cache.parent / name
    write_pack(contents(Cache(cache)), target, **options)
    return target


def unpacked(file: Path, name: str = "unpacked.zarr") -> Path:
    """A packed file as a folder beside it."""
    target = file.parent / name
    write_folder(packed_contents(file), target)
    return target


def pack_and_unpack(cache: Path, folder: Path) -> None:
    """What the crash test starts and kills: a pack, and a folder made of it."""
    folder.mkdir(exist_ok=True)
    write_pack(contents(Cache(cache)), folder / "x.zarr.zip")
    write_folder(packed_contents(folder / "x.zarr.zip"), folder / "x.zarr")


def part(
    cache: Path, target: Path, *only: str, without: str = "", streams: str | None = None
) -> Path:
    """A part of a cache as a folder of its own."""
    selection = parse_selection(only, [without], streams)
    write_folder(contents(Cache(cache), selection), target)
    return target


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a cache, but not the locks of those who wrote it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (".affcache" not in path.parts or path.name == "seal.json")
    }


def outside(folder: Path, *known: Path) -> list[Path]:
    """Whatever lies in a folder beside the paths that should be there."""
    return sorted(set(folder.iterdir()) - set(known))


def rezip(
    file: Path,
    extra: dict[str, bytes] | None = None,
    drop: tuple[str, ...] = (),
    change: dict[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    """The same zip with entries added, dropped or changed, written by Python's own library."""
    target = file.with_name("hostile.zarr.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            if name not in drop:
                new.writestr(name, (change or {}).get(name, old.read(name)))
        for name, data in (extra or {}).items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = method
            new.writestr(info, data)
    return target


def bomb(file: Path, name: str, size: int) -> Path:
    """The zip with one entry that deflates zeros: a thousandth of what it holds."""
    target = file.with_name("bomb.zarr.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for other in old.namelist():
            if other != name:
                new.writestr(other, old.read(other))
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        with new.open(info, "w", force_zip64=True) as entry:
            for _ in range(0, size, 1 << 20):
                entry.write(bytes(1 << 20))
    return target


def poke(file: Path, name: str, offset: int, value: bytes) -> Path:
    """A copy of the zip with bytes of one entry's directory record changed."""
    data = bytearray(file.read_bytes())
    at = data.find(b"PK\1\2")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\1\2", at + 4)
    data[at + offset : at + offset + len(value)] = value
    target = file.with_name("poked.zarr.zip")
    target.write_bytes(data)
    return target


def seal_with(files: dict[str, tuple[int, str]]) -> bytes:
    """A seal's bytes, as the program writes them."""
    listed = {name: {"bytes": size, "sha256": digest} for name, (size, digest) in files.items()}
    return json.dumps({"format_version": 1, "files": listed}, indent=1, sort_keys=True).encode()


def end_of_directory(count: int, size: int, start: int) -> bytes:
    """An end record that says what it is told."""
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, 0)


def zip_of(names: list[str]) -> bytes:
    """A stored zip with empty entries of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, b"")
    return out.getvalue()
