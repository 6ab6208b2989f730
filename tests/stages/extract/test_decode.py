"""Decoding: every frame once, and nothing that a file does can hurt the process that asked."""

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from affcache.errors import VideoError
from stages.extract.decode import SLOTS, Decoder
from tests.stages.extract.films import film, sound, times


def frames_of(decoder: Decoder, path: Path) -> tuple[np.ndarray, np.ndarray]:
    with decoder.open(path) as (_, batches):
        found = [(batch.frames.copy(), batch.time) for batch in batches]
    return np.concatenate([f for f, _ in found]), np.concatenate([t for _, t in found])


def test_every_frame_and_time_of_the_real_clips_is_what_another_decoder_shows(
    real_clips: list[Path],
) -> None:
    decoder = Decoder(batch=32)
    for path in real_clips:
        frames, time = frames_of(decoder, path)
        expected = times(path)
        assert len(frames) == len(expected), path.name
        assert np.abs(time - (expected - expected[0])).max() < 1e-5, path.name
        with av.open(str(path)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                if i % 20 == 0 or i == len(frames) - 1:
                    shown = frame.to_ndarray(format="rgb24").astype(int)
                    assert np.abs(shown - frames[i]).mean() < 1, (path.name, i)
    decoder.close()


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    path = tmp_path / "fine.mp4"
    path.write_bytes(b"anything")
    return path


@pytest.mark.parametrize("batch", [1, 7, 30, 64])
def test_batches_of_any_size_give_the_same_frames(fine: Path, batch: int) -> None:
    decoder = Decoder(batch=batch, reader="tests.stages.extract.broken_readers:Fine")
    for _ in range(2):
        frames, time = frames_of(decoder, fine)
        assert frames[:, 0, 0, 0].tolist() == list(range(30))
        assert np.allclose(time, np.arange(30) / 10)
    decoder.close()


def test_a_batch_is_limited_by_bytes_and_a_single_frame_always_fits(fine: Path) -> None:
    for room, expected in ((4 * 72, 4), (10, 1)):
        decoder = Decoder(
            batch=32, slot_bytes=room, reader="tests.stages.extract.broken_readers:Fine"
        )
        with decoder.open(fine) as (_, batches):
            sizes = [len(batch.frames) for batch in batches]
        assert max(sizes) == expected
        assert sum(sizes) == 30
        decoder.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash.mp4", r"crashed \(killed by SIGSEGV\)"),
        ("hang.mp4", "gave no answer for 1 s"),
        ("raise.mp4", r"is truncated, damaged or no video \(bad packet\)"),
    ],
)
def test_a_decoder_that_is_lost_costs_one_video(fine: Path, name: str, message: str) -> None:
    bad = fine.with_name(name)
    bad.write_bytes(b"anything")
    decoder = Decoder(batch=4, patience=30.0, reader="tests.stages.extract.broken_readers:Broken")
    frames_of(decoder, fine)
    decoder.patience = 1.0 if "hang" in name else 30.0
    with pytest.raises(VideoError, match=f"{name}: .*{message}"):
        frames_of(decoder, bad)
    decoder.patience = 30.0
    assert len(frames_of(decoder, fine)[0]) == 30
    decoder.close()


@pytest.mark.parametrize("name", ["evenly.avi", "from-the-other-decoder.mpg"])
def test_times_that_decord_makes_up_are_replaced(name: str, tmp_path: Path) -> None:
    decoder = Decoder()
    frames, time = frames_of(decoder, film(tmp_path / name, 30))
    decoder.close()
    assert len(frames) == 30
    assert np.allclose(time, np.arange(30) / 25, atol=1e-5)


def test_what_an_earlier_video_complained_of_is_not_said_of_the_next(fine: Path) -> None:
    bad = fine.with_name("raise.mp4")
    bad.write_bytes(b"anything")
    decoder = Decoder(batch=4, reader="tests.stages.extract.broken_readers:Broken")
    fine = fine.rename(fine.with_name("noisy.mp4"))
    frames_of(decoder, fine)
    with pytest.raises(VideoError, match=r"no video \(bad packet\)"):
        frames_of(decoder, bad)
    decoder.close()


def test_leaving_a_video_early_does_not_spoil_the_next(fine: Path) -> None:
    decoder = Decoder(batch=2, reader="tests.stages.extract.broken_readers:Fine")
    with decoder.open(fine) as (_, batches):
        next(batches)
    assert len(frames_of(decoder, fine)[0]) == 30 > 2 * SLOTS
    decoder.close()


def test_what_is_no_video_is_one_clear_line(tmp_path: Path, pyfeat_clips: Path) -> None:
    whole = (pyfeat_clips / "WolfgangLanger_Pexels.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is text\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    sound(tmp_path / "sound.mp4")
    end = film(tmp_path / "film.mp4", 50).read_bytes()
    (tmp_path / "no-index.mp4").write_bytes(end[: len(end) // 2])
    (tmp_path / "av1.mp4").write_bytes(end.replace(b"avc1", b"av01"))
    (tmp_path / "codec.mp4").write_bytes(end.replace(b"avc1", b"zzzz"))
    shutil.copy(pyfeat_clips / "multi_face.jpg", tmp_path / "photo.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    expected = {
        "cut.mp4": "is truncated, damaged or no video",
        "empty.mp4": "is empty",
        "text.mp4": "is truncated, damaged or no video",
        "folder.mp4": "is a folder, not a video",
        "sound.mp4": "holds no video stream",
        "no-index.mp4": "is truncated, damaged or no video (moov atom not found); if it plays",
        "av1.mp4": "is coded as av1, which decord cannot read; rewrite it as H.264",
        "codec.mp4": "is coded as something unknown, which decord cannot read",
        "photo.mp4": "is truncated, damaged or no video (Failed to measure duration",
        "pipe.mp4": "is a pipe or a device",
        "absent.mp4": "does not exist",
    }
    decoder = Decoder()
    for name, reason in expected.items():
        with pytest.raises(VideoError) as caught:
            frames_of(decoder, tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {reason}"), caught.value
        assert "\n" not in str(caught.value)
    assert len(frames_of(decoder, tmp_path / "film.mp4")[0]) == 50
    decoder.close()
