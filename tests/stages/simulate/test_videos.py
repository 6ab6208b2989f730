"""A simulated data set on the disk: complete, labelled, said to be simulated, made only once."""

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest

from affcache.errors import SimulationError
from stages.simulate import videos
from stages.simulate.portraits import PEOPLE
from stages.simulate.record import Settings
from stages.simulate.videos import encode, label_text, simulate_videos
from stages.simulate.warp import Portrait

SAME = 2.0  # grey levels between two encodings of the same pixels, which x264 may make
FEW = Settings(people=2, clips=1, frames=6, size=80)


@pytest.fixture(autouse=True)
def _drawn_people(monkeypatch: pytest.MonkeyPatch, face: Portrait) -> None:
    monkeypatch.setattr(videos, "portraits", lambda people, _size: [face for _ in people])


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def difference(one: Path, two: Path) -> float:
    return float(np.abs(decode(one).astype(float) - decode(two)).mean())


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_every_video_has_its_frames_and_a_label_for_each(tmp_path: Path) -> None:
    simulate_videos(tmp_path / "set", FEW, workers=1)
    assert names(tmp_path / "set") == [
        "labels/p01_c1.csv",
        "labels/p02_c1.csv",
        "simulation.json",
        "videos/p01_c1.mp4",
        "videos/p02_c1.mp4",
    ]
    for stem in ("p01_c1", "p02_c1"):
        assert decode(tmp_path / f"set/videos/{stem}.mp4").shape == (6, 80, 80, 3)
        with (tmp_path / f"set/labels/{stem}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(6))
        assert all(abs(float(row[k])) <= 1 for row in rows for k in ("valence", "arousal"))


def test_time_runs_at_the_rate_asked_for(tmp_path: Path) -> None:
    frames = np.zeros((5, 80, 80, 3), np.uint8)
    encode(tmp_path / "x.mp4", [frames[:3], frames[3:]], 80, 30000 / 1001)
    with av.open(str(tmp_path / "x.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(5) * 1001 / 30000, atol=1e-4)


def test_record_and_videos_say_that_they_are_simulated_and_how(tmp_path: Path) -> None:
    rows = simulate_videos(tmp_path, FEW, workers=1)
    record = json.loads((tmp_path / "simulation.json").read_text())
    assert record["simulated"] is True
    assert "SIMULATED" in record["about"]
    assert record["settings"]["seed"] == 0
    assert record["settings"]["habits"]["lag_seconds"] == 0.4
    assert record["subjects"]["p02"] == {
        "asset": PEOPLE[1].asset,
        "filename": PEOPLE[1].filename,
        "frame": PEOPLE[1].frame,
        "face": PEOPLE[1].face,
    }
    with av.open(str(tmp_path / "videos" / "p01_c1.mp4")) as container:
        assert "SIMULATED" in container.metadata["comment"]
    assert [row["subject"] for row in rows] == ["p01", "p02"]
    assert sum(row["frames"] for row in rows) == 12


def test_workers_change_nothing_and_an_interrupted_set_is_completed_to_the_same(
    tmp_path: Path,
) -> None:
    simulate_videos(tmp_path / "one", FEW, workers=1)
    simulate_videos(tmp_path / "two", FEW, workers=2)
    (tmp_path / "two/videos/p02_c1.mp4").unlink()
    (tmp_path / "two/.partial").mkdir()
    (tmp_path / "two/.partial/p02_c1.mp4").write_bytes(b"half a video")
    kept = (tmp_path / "two/videos/p01_c1.mp4").stat().st_mtime_ns
    simulate_videos(tmp_path / "two", FEW, workers=1)
    assert (tmp_path / "two/videos/p01_c1.mp4").stat().st_mtime_ns == kept
    assert names(tmp_path / "one") == names(tmp_path / "two")
    for name in names(tmp_path / "one"):
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        if name.endswith(".mp4"):
            assert difference(one, two) < SAME
        else:
            assert one.read_bytes() == two.read_bytes()


def test_a_clip_does_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    simulate_videos(tmp_path / "few", FEW, workers=1)
    more = Settings(people=3, clips=2, frames=6, size=80)
    simulate_videos(tmp_path / "more", more, workers=1)
    few, many = (tmp_path / name / "videos" / "p02_c1.mp4" for name in ("few", "more"))
    assert difference(few, many) < SAME
    assert difference(few, many.with_name("p02_c2.mp4")) > 3 * SAME


def test_another_seed_is_another_simulation_and_refused_in_the_same_folder(tmp_path: Path) -> None:
    simulate_videos(tmp_path, FEW, workers=1)
    other = Settings(people=2, clips=1, frames=6, size=80, seed=5)
    with pytest.raises(SimulationError, match=r"settings\.seed: 0 there, 5 now.*choose another"):
        simulate_videos(tmp_path, other, workers=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(SimulationError, match="is not empty and holds no simulation"):
        simulate_videos(tmp_path, FEW, workers=1)
    assert names(tmp_path) == ["thesis.txt"]
    with pytest.raises(SimulationError, match=r"thesis\.txt"):
        simulate_videos(tmp_path / "thesis.txt", FEW, workers=1)


@pytest.mark.parametrize("text", ["", "[]", '{"settings": 3}', "{}"])
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "simulation.json").write_text(text)
    with pytest.raises(SimulationError, match="is not the record of a simulation"):
        simulate_videos(tmp_path, FEW, workers=1)


@pytest.mark.parametrize(("size", "people"), [(62, 1), (81, 1), (80, 0), (80, len(PEOPLE) + 1)])
def test_settings_out_of_range_say_what_would_be_in_range(size: int, people: int) -> None:
    with pytest.raises(SimulationError, match=r"choose (an even number|--people from 1 to 13)"):
        Settings(size=size, people=people)


def test_labels_are_a_plain_table() -> None:
    text = label_text(np.array([[0.5, -0.25], [1 / 3, 0]]))
    assert text == "frame,valence,arousal\n0,0.500000,-0.250000\n1,0.333333,0.000000\n"
