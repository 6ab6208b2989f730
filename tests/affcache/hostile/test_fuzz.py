"""Attributes of any shape and bytes of any value: refused, found or harmless, never a crash."""

import json
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affcache import verify
from affcache.errors import CacheError
from affcache.places import place
from affcache.store import Cache
from affcache.summary import describe
from tests.affcache.copying.packed import tree
from tests.affcache.hostile.ways import resealed, unpack, use

QUIET = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)


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
    hostile = resealed(file, {name: json.dumps(document).encode()})
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
