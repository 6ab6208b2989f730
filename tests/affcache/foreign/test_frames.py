"""Foreign rows as frames: none left out, none invented, and no face where there was none."""

from pathlib import Path

import numpy as np
import pytest

from affcache.errors import ForeignError
from affcache.foreign import rows as reading
from affcache.foreign.frames import frames_of, wanted_of
from affcache.foreign.rows import read_rows
from affcache.foreign.spectoml import parse_spec

HEAD = 'dataset = "x"\n[features]\nformat = "csv"\nfiles = "{id}.csv"\n'


def frames(tmp_path: Path, keys: str, text: str, block: int = 1 << 23) -> dict[str, np.ndarray]:
    spec = parse_spec(HEAD + keys, "spec").features
    path = tmp_path / "v1.csv"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK_BYTES", block)
        blocks = list(frames_of(read_rows("csv", path, wanted_of(spec, "")), spec, "v1", path))
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


BLOCKS = pytest.mark.parametrize("block", [1, 1 << 23], ids=["row by row", "at once"])


@BLOCKS
def test_a_row_number_over_the_rate_is_the_time_where_there_is_no_time(
    tmp_path: Path, block: int
) -> None:
    found = frames(tmp_path, "fps = 4", "a,b\n1,2\n3,4\n5,6\n", block)
    np.testing.assert_array_equal(found["time"], [0, 0.25, 0.5])
    np.testing.assert_array_equal(found["features"], [[1, 2], [3, 4], [5, 6]])
    assert found["valid"].all()
    assert "score" not in found


@BLOCKS
def test_frames_that_are_left_out_are_frames_without_a_face(tmp_path: Path, block: int) -> None:
    text = "n,t,c,a\n3,0.3,1,7\n4,0.4,1,8\n8,0.8,1,9\n"
    keys = 'frame = "n"\ntime = "t"\nconfidence = "c"'
    found = frames(tmp_path, keys, text, block)
    np.testing.assert_array_equal(found["valid"], [1, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(found["time"], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    np.testing.assert_array_equal(found["features"][:, 0], [7, 8, 0, 0, 0, 9])
    np.testing.assert_array_equal(found["score"], [1, 1, np.nan, np.nan, np.nan, 1])


@BLOCKS
def test_without_a_time_the_frame_number_gives_it(tmp_path: Path, block: int) -> None:
    found = frames(tmp_path, 'frame = "n"\nfps = 10', "n,a\n1,7\n2,8\n5,9\n", block)
    np.testing.assert_allclose(found["time"], [0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(found["valid"], [1, 1, 0, 0, 1])


def test_what_makes_a_row_a_frame_without_a_face(tmp_path: Path) -> None:
    text = "ok,c,a\n1,.9,5\n0,.9,5\n1,.4,5\n1,.9,\n,.9,5\n1,,5\n"
    keys = 'valid = "ok"\nconfidence = "c"\nleast_confidence = 0.5\nfps = 1'
    found = frames(tmp_path, keys, text)
    np.testing.assert_array_equal(found["valid"], [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(found["features"][:, 0], [5, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(found["score"], [0.9] + [np.nan] * 5)


@BLOCKS
def test_one_of_several_faces_is_chosen_by_its_number(tmp_path: Path, block: int) -> None:
    text = "n,face,t,a\n0,0,0.0,1\n0,1,0.0,2\n1,1,0.1,4\n2,0,0.2,5\n2,1,0.2,6\n"
    where = "[features.where]\nface = 0"
    found = frames(tmp_path, f'frame = "n"\ntime = "t"\n{where}', text, block)
    np.testing.assert_array_equal(found["features"][:, 0], [1, 0, 5])
    np.testing.assert_array_equal(found["valid"], [1, 0, 1])


def test_what_a_failed_detector_wrote_is_not_looked_at(tmp_path: Path) -> None:
    found = frames(tmp_path, 'valid = "ok"\nfps = 1', "ok,a\n1,2\n0,1e9\n0,inf\n0,-nan(ind)\n")
    np.testing.assert_array_equal(found["features"][:, 0], [2, 0, 0, 0])
    np.testing.assert_array_equal(found["valid"], [1, 0, 0, 0])


def test_avecs_names_stand_in_single_quotes(tmp_path: Path) -> None:
    found = frames(tmp_path, 'name = "who"\nfps = 1', "who,a\n'v1',1\n'v1',2\n")
    np.testing.assert_array_equal(found["features"][:, 0], [1, 2])


def test_milliseconds_become_seconds(tmp_path: Path) -> None:
    found = frames(tmp_path, 'time = "t"\nseconds = 0.001', "t,a\n0,1\n40,2\n")
    np.testing.assert_allclose(found["time"], [0, 0.04])


@pytest.mark.parametrize(
    ("keys", "text", "message"),
    [
        ('time = "t"', "t,a\n0,1\n0,2\n", "line 3: the time 0 follows 0, but must rise; are sev"),
        ('time = "t"', "t,a\n0,1\n?,2\n", "line 3: there is no time"),
        ('frame = "n"\nfps = 1', "n,a\n2,1\n1,2\n", "line 3: the frame number n 1 follows 2"),
        ('frame = "n"\nfps = 1', "n,a\n1,1\n2.5,2\n", "not whole"),
        ('frame = "n"\nfps = 1', "n,a\n1,1\n900000,2\n", "100000 are left out"),
        ("fps = 1", "a,b\n1,2\n1,inf\n", "line 3: b is inf, float16 ends at 65,504"),
        ('name = "who"\nfps = 1', "who,a\nv1,1\nv2,1\n", "line 3: names 'v2', expected 'v1'"),
        ('valid = "ok"\nfps = 1', "ok,a\nyes,1\n", "line 2: ok is 'yes', expected a number"),
    ],
)
@BLOCKS
def test_rows_that_cannot_be_frames_are_named(
    tmp_path: Path, keys: str, text: str, message: str, block: int
) -> None:
    with pytest.raises(ForeignError, match=message):
        frames(tmp_path, keys, text, block)
