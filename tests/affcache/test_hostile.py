"""Caches from strangers: refused in one line, nothing touched, allocated or run.

Every attack is tried on what would meet it: opening, reading, verifying, unpacking, taking a part.
"""

import json
import pickle
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affcache import verify
from affcache.contents import contents
from affcache.errors import CacheError
from affcache.places import place
from affcache.store import Cache
from affcache.summary import describe
from affcache.unpack import packed_contents, write_folder
from affcache.windows import load_all
from tests.affcache.packed import (
    bomb,
    end_of_directory,
    outside,
    packed,
    poke,
    rezip,
    seal_with,
    tree,
    zip_of,
)
from tests.caches import make_cache

QUIET = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
LITTLE = 48 << 20  # what refusing may allocate, at most


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache") / "x.zarr", videos=2, frames=40, width=8)


@pytest.fixture(scope="module")
def honest(made: Path) -> Path:
    return packed(made)


@pytest.fixture
def file(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(honest, tmp_path / "x.zarr.zip"))


@pytest.fixture
def cache(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "x.zarr"))


def use(path: Path) -> None:
    """Everything that reading a cache can mean."""
    cache = Cache(path)
    contents(cache)
    describe(cache)
    for sequence in load_all(path, "va", "backbone"):
        np.asarray(sequence.features).sum()
    if faults := verify.verify(path):
        raise CacheError(f"{len(faults)} faults: {faults[0]}")


def unpack(path: Path) -> None:
    write_folder(packed_contents(path), path.with_name("unpacked.zarr"))


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No test of this file may need much memory, whatever a hostile cache declares."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE, f"{peak >> 20} MiB"


def refused(path: Path, match: str, *ways: Callable[[Path], None]) -> None:
    """Every way in ends in a CacheError of one line, and nothing new lies beside the file."""
    before = set(path.parent.iterdir())
    for way in ways or (use, unpack):
        with pytest.raises(CacheError, match=match) as caught:
            way(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 2000
        assert set(path.parent.iterdir()) == before


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


def test_a_bomb_in_a_data_file_is_stopped_at_the_size_that_was_sealed(file: Path) -> None:
    hostile = bomb(file, "videos/v00/features/c/0/0", 300 << 20)
    assert hostile.stat().st_size < 2 << 20
    refused(hostile, "its seal says 644", unpack)
    refused(hostile, "cold storage", use)


def test_a_bomb_that_hides_its_size_in_the_directory_is_stopped(file: Path) -> None:
    name = "videos/v00/features/c/0/0"
    hostile = bomb(file, name, 300 << 20)
    hostile = poke(hostile, name, 24, (644).to_bytes(4, "little"))
    refused(hostile, "is not as long as it says", unpack)


def test_a_bomb_in_the_seal_is_not_inflated(file: Path) -> None:
    refused(bomb(file, ".affcache/seal.json", 300 << 20), "which so few files do not need", unpack)


def test_a_bomb_in_the_metadata_is_not_read(file: Path) -> None:
    size = 200 << 20
    listed = {n: (1, "0" * 64) for n in place(file).files() if not n.startswith(".affcache/")}
    seal = seal_with(listed | {"zarr.json": (size, "0" * 64)})
    changed = rezip(file, change={".affcache/seal.json": seal})
    sizes = place(changed)
    seal = seal_with(
        {n: (sizes.size(n), "0" * 64) for n in listed} | {"zarr.json": (size, "0" * 64)}
    )
    changed = rezip(file, change={".affcache/seal.json": seal})
    refused(bomb(changed, "zarr.json", size), "which so few files do not need", unpack)


def test_trailing_garbage_behind_a_deflated_stream_is_refused(file: Path) -> None:
    cold = file.with_name("cold.zarr.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(cold, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    name = "videos/v00/valid/c/0"
    with zipfile.ZipFile(cold) as archive:
        size = archive.getinfo(name).file_size
    refused(poke(cold, name, 24, (size - 1).to_bytes(4, "little")), "its seal says", unpack)


def test_a_seal_that_claims_terabytes_is_refused_before_anything_is_written(file: Path) -> None:
    listed = {n: (place(file).size(n), "0" * 64) for n in place(file).files() if n[0] != "."}
    seal = seal_with(listed | {"zarr.json": (1 << 50, "0" * 64)})
    refused(rezip(file, change={".affcache/seal.json": seal}), "its seal says", unpack)


@pytest.mark.parametrize(
    "seal",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format_version": 1, "files": []}',
        b'{"format_version": 2, "files": {}}',
        b'{"format_version": 1, "files": {"../x": {"bytes": 1, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {".affcache/x": {"bytes": 1, "sha256": "%s"}}}'
        % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": -1, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": 1e9, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": true, "sha256": "%s"}}}' % (b"0" * 64),
        b'{"format_version": 1, "files": {"x": {"bytes": 1, "sha256": 7}}}',
        b'{"format_version": 1, "files": {"x": 7}}',
        b"[" * 3000,
        b"\xff\xfe",
    ],
)
def test_a_seal_that_is_none_is_refused(file: Path, seal: bytes) -> None:
    refused(rezip(file, change={".affcache/seal.json": seal}), "seal|JSON|damaged")


def test_a_pack_with_a_file_too_many_or_too_few_is_refused(file: Path) -> None:
    refused(rezip(file, {"videos/v00/extra": b"x"}), "in the zip, but not in the seal", unpack)
    gone = rezip(file, drop=("videos/v00/valid/c/0",))
    refused(gone, "in the seal, but not in the zip", unpack)


def test_a_damaged_byte_is_found_while_unpacking_and_named(file: Path) -> None:
    where = place(file)
    view = bytes(where.map("videos/v01/features/c/0/0"))
    at = file.read_bytes().index(view)
    data = bytearray(file.read_bytes())
    data[at + 11] ^= 4
    file.write_bytes(data)
    refused(file, r"videos/v01/features/c/0/0 is not what the seal says", unpack)


def test_another_programs_newer_format_is_not_published(file: Path) -> None:
    root = json.loads(place(file).read("zarr.json"))
    root["attributes"]["affcache"]["format_version"] = 99
    refused(_resealed(file, {"zarr.json": json.dumps(root).encode()}), "update affcache")


def _resealed(file: Path, change: dict[str, bytes]) -> Path:
    """A hostile zip whose seal fits what it holds."""
    import hashlib

    where = place(file)
    names = [name for name in where.files() if not name.startswith(".affcache/")]
    data = {name: change.get(name, where.read(name)) for name in names}
    data |= {name: body for name, body in change.items() if name not in data}
    seal = seal_with({n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in data.items()})
    extra = {name: body for name, body in change.items() if name not in names}
    return rezip(file, extra, change=change | {".affcache/seal.json": seal})


ARRAY = "videos/v00/features/zarr.json"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [1 << 40, 8]),
        ("shape", [1 << 62, 1 << 62]),
        ("shape", [40, 8.0]),
        ("shape", [-40, -8]),
        ("shape", [True, 8]),
        ("shape", []),
        ("shape", [0] * 100),
        ("shape", 40),
        ("shape", None),
        ("data_type", "object"),
        ("data_type", "O"),
        ("data_type", "complex128"),
        ("data_type", ["float16"]),
        ("data_type", {"name": "struct"}),
        ("data_type", None),
        ("codecs", [{"name": "bytes"}, {"name": "pickle"}]),
        ("codecs", [{"name": "numcodecs.pickle"}]),
        ("codecs", 7),
        ("codecs", None),
        ("codecs", [7, None]),
        ("codecs", [{"name": {"x": 1}}]),
        ("chunk_grid", 7),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 8]}}),
    ],
)
def test_metadata_that_declares_what_no_cache_holds_is_refused(
    file: Path, cache: Path, key: str, value: object
) -> None:
    document = json.loads(place(file).read(ARRAY)) | {key: value}
    if key == "shape":
        document["chunk_grid"]["configuration"]["chunk_shape"] = value
    data = json.dumps(document).encode()
    refused(_resealed(file, {ARRAY: data}), "v00/features", use)
    (cache / ARRAY).write_bytes(data)
    with pytest.raises(CacheError, match="v00/features"):
        Cache(cache).video("v00").array("features")
    assert {f.video for f in verify.verify(cache)} == {"v00"}


@pytest.mark.parametrize(
    "attributes", [None, 7, [], "x", {"affcache": 7}, {"affcache": {"format_version": "1"}}]
)
def test_a_root_whose_attributes_are_of_the_wrong_type_is_refused(
    file: Path, attributes: object
) -> None:
    root = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    refused(
        _resealed(file, {"zarr.json": root.encode()}), "zarr.json|affcache cache|format version"
    )


@pytest.mark.parametrize("name", ["dataset", "fingerprint", "fields", "provenance"])
@pytest.mark.parametrize("value", [7, None, ["x"], True])
def test_a_header_whose_entries_are_of_the_wrong_type_is_refused(
    file: Path, name: str, value: object
) -> None:
    root = json.loads(place(file).read("zarr.json"))
    root["attributes"]["affcache"][name] = value
    refused(_resealed(file, {"zarr.json": json.dumps(root).encode()}), f"{name} in its header is")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@QUIET
@given(said=JSON, group=st.sampled_from(["labels/v00", "videos/v00", "videos/v00/valid"]))
def test_attributes_of_any_shape_are_survived_or_refused(
    made: Path, honest: Path, tmp_path: Path, said: object, group: str
) -> None:
    name = f"{group}/zarr.json"
    document = json.loads((made / name).read_bytes()) | {"attributes": said}
    file = Path(shutil.copy(honest, tmp_path / "x.zarr.zip"))
    hostile = _resealed(file, {name: json.dumps(document).encode()})
    for way in (use, lambda path: print(json.dumps(describe(Cache(path))))):
        try:
            way(hostile)
        except CacheError as error:
            assert "\n" not in str(error)  # noqa: PT017


@QUIET
@given(
    said=st.dictionaries(
        st.sampled_from(["subject", "split", "fps", "face", "fingerprint", "source_sha256"]), JSON
    ),
    group=st.sampled_from(["labels/v00", "videos/v00"]),
)
def test_known_attributes_of_any_value_are_survived_or_refused(
    made: Path, honest: Path, tmp_path: Path, said: dict[str, object], group: str
) -> None:
    test_attributes_of_any_shape_are_survived_or_refused.hypothesis.inner_test(
        made, honest, tmp_path, said, group
    )


def test_a_document_of_nothing_but_brackets_takes_no_memory(cache: Path) -> None:
    (cache / "zarr.json").write_bytes(b'{"a": [' + b"[]," * 8_000_000 + b"[]]}")
    with pytest.raises(CacheError, match="little but brackets"):
        Cache(cache)


def test_a_sparse_terabyte_is_refused_by_its_metadata(cache: Path) -> None:
    chunk = cache / "videos" / "v00" / "features" / "c" / "0" / "0"
    with chunk.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CacheError, match="holds 1099511627772 bytes of data"):
        Cache(cache).video("v00").array("features")
    assert "size" in {fault.kind for fault in verify.verify(cache, quick=True)}


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("the trap went off",)


def test_nothing_is_unpickled(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trap = pickle.dumps(Trap())
    for name in ("videos/v00/features/c/0/0", ARRAY, "zarr.json"):
        refused(_resealed(file, {name: trap}), "v00|JSON", use)
    assert "trap" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_links_out_of_a_folder_are_not_copied(cache: Path, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    target = cache / "videos" / "v00" / "time"
    if kind == "file":
        target = target / "c" / "0"
    shutil.move(target, secret)
    target.symlink_to(secret)
    with pytest.raises(CacheError, match="symbolic link"):
        packed(cache)
    assert outside(tmp_path, cache, secret) == []


def test_a_folder_of_absurd_depth_is_refused(cache: Path) -> None:
    deep = cache.joinpath("videos", *["d"] * 100)
    deep.mkdir(parents=True)
    with pytest.raises(CacheError, match="too deep"):
        verify.verify(cache)


@QUIET
@given(data=st.data())
def test_a_pack_with_changed_bytes_gives_a_cache_error_or_a_fault(
    honest: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Any change is refused or found by verify; nothing else ever comes out."""
    whole = honest.read_bytes()
    where = st.integers(0, len(whole) - 1) | st.integers(len(whole) - 9000, len(whole) - 1)
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(where)
        what = data.draw(st.binary(min_size=1, max_size=8))
        how = data.draw(st.sampled_from(["write", "insert", "cut"]))
        if how == "write":
            changed[at : at + len(what)] = what
        elif how == "insert":
            changed[at:at] = what
        else:
            del changed[at : at + len(what)]
    (tmp_path / "x.zarr.zip").write_bytes(changed)
    try:
        faults = verify.verify(tmp_path / "x.zarr.zip")
        use(tmp_path / "x.zarr.zip")
    except CacheError:
        faults = ["refused"]
    target = tmp_path / "unpacked.zarr"
    try:
        unpack(tmp_path / "x.zarr.zip")
    except CacheError:
        assert not target.exists()
    else:  # what was changed is no one's data: padding, times, checksums that zip keeps beside ours
        assert tree(target) == _tree_of(honest)
        shutil.rmtree(target)
    if not faults:
        assert {n: place(tmp_path / "x.zarr.zip").read(n) for n in place(honest).files()} == (
            _tree_of(honest)
        )


def _tree_of(file: Path) -> dict[str, bytes]:
    where = place(file)
    return {name: where.read(name) for name in where.files()}


def test_a_bomb_is_refused_within_limits_of_memory_and_file_size(file: Path) -> None:
    """In a process of its own, where the kernel and not Python counts."""
    hostile = bomb(file, "videos/v00/features/c/0/0", 300 << 20)
    program = textwrap.dedent(f"""
        import numpy, resource, sys
        from affcache.cli import main
        import affcache.copies
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)
        main(["unpack", {str(hostile)!r}, {str(hostile.with_name("out.zarr"))!r}])
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not hostile.with_name("out.zarr").exists()
