"""Stage one end to end on real clips and on what is wrong with others."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from affcache.errors import AffcacheError, CacheError, StorageError, VideoError
from affcache.publish import VideoWriter, claim
from affcache.schema import EXPRESSIONS, VIDEO_ARRAYS, is_safe_id
from affcache.store import Cache, sha256_of
from affcache.verify import repair, verify
from stages.extract import crop
from stages.extract.backbones.mini_xception import MiniXception
from stages.extract.pipeline import Result, extract, from_files, from_manifest
from tests.stages.extract.conftest import contents
from tests.stages.extract.films import film, sound, times


def run(paths: list[Path], out: Path, *, workers: int = 1, force: bool = False) -> Result:
    return extract(from_files(paths), out, device="cpu", workers=workers, force=force)


def test_every_clip_has_one_row_per_frame_that_another_decoder_shows(
    clips_run: tuple[Path, Result], real_clips: list[Path]
) -> None:
    cache = Cache(clips_run[0])
    assert cache.video_ids() == sorted(path.stem for path in real_clips)
    for path in real_clips:
        video, time = cache.video(path.stem), times(path)
        assert len(video) == len(time), path.name
        assert np.abs(video.array("time") - (time - time[0])).max() < 1e-5
        assert video.attributes["source_sha256"] == sha256_of(path)


def test_rows_without_a_face_are_blank_and_rows_with_one_are_whole(
    clips_run: tuple[Path, Result],
) -> None:
    for video in Cache(clips_run[0]).videos():
        valid = video.array("valid")
        assert (video.array("features")[~valid] == 0).all()
        assert video.array("features").dtype == np.float16
        for name in ("box", "landmarks", "score", "pseudo_va", "pseudo_expr"):
            rows = video.array(name).reshape(len(video), -1)
            assert rows.dtype == VIDEO_ARRAYS[name].dtype
            assert np.isfinite(rows[valid]).all()
            assert np.isnan(rows[~valid]).all()


def test_faces_are_found_where_they_are(clips_run: tuple[Path, Result]) -> None:
    valid = {video.id: video.array("valid") for video in Cache(clips_run[0]).videos()}
    assert not valid["no_face"].any()
    assert valid["single_face"].all()
    assert valid["carphone_pristine"].all()
    assert valid["face_noface"][:72].all()
    assert not valid["face_noface"][72:].any()
    assert not valid["noface_face"][:90].any()
    assert valid["noface_face"][100:160].all()
    assert clips_run[1].outcomes[0].status == "done"


def test_the_man_who_cries_and_then_smiles_does_so(clips_run: tuple[Path, Result]) -> None:
    video = Cache(clips_run[0]).video("WolfgangLanger_Pexels")
    expressions = video.array("pseudo_expr")
    happy = expressions[:, EXPRESSIONS.index("Happiness")]
    assert np.nanmean(happy[: len(happy) // 2]) < 0.2
    assert np.nanmean(happy[-len(happy) // 4 :]) > 0.8
    valence = video.array("pseudo_va")[:, 0]
    assert np.nanmean(valence[-len(happy) // 4 :]) > np.nanmean(valence[: len(happy) // 2]) + 0.5


def test_a_finished_cache_is_sealed_and_true_to_the_byte(clips_run: tuple[Path, Result]) -> None:
    assert (clips_run[0] / ".affcache" / "seal.json").exists()
    assert not list((clips_run[0] / ".affcache" / "partial").glob("*/"))
    assert verify(clips_run[0]) == []


def test_two_workers_give_what_one_gives_and_a_second_run_does_nothing(
    short_clips: list[Path], clips_run: tuple[Path, Result], tmp_path: Path
) -> None:
    out = tmp_path / "two.zarr"
    run(short_clips, out, workers=2)
    one = contents(clips_run[0])
    two = contents(out)
    assert len(two) == 2 * 8
    assert two == {name: one[name] for name in two}
    again = run(short_clips, out, workers=2)
    assert [o.status for o in again.outcomes] == ["skipped", "skipped"]
    assert contents(out) == two


def test_bad_videos_are_quarantined_and_the_rest_is_extracted(
    pyfeat_clips: Path, tmp_path: Path
) -> None:
    whole = (pyfeat_clips / "WolfgangLanger_Pexels.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is text\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    sound(tmp_path / "sound.mp4")
    good = film(tmp_path / "good.mp4", 40)
    names = ["cut", "empty", "text", "folder", "sound"]
    out = tmp_path / "x.zarr"
    result = run([*(tmp_path / f"{name}.mp4" for name in names), good], out)
    assert [o.status for o in result.outcomes] == ["failed"] * 5 + ["done"]
    cache = Cache(out)
    assert cache.video_ids() == ["good"]
    assert len(cache.video("good")) == 40
    for name, outcome in zip(names, result.outcomes[:-1], strict=True):
        assert outcome.reason.startswith(f"{tmp_path / name}.mp4: ")
        assert "\n" not in outcome.reason
        assert (out / ".affcache" / "failed" / f"{name}.json").exists()
    shutil.copy(good, tmp_path / "empty.mp4")
    assert run([tmp_path / "empty.mp4"], out).outcomes[0].status == "done"
    assert not (out / ".affcache" / "failed" / "empty.json").exists()


def test_a_changed_source_fails_until_it_is_forced(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 20)
    out = tmp_path / "x.zarr"
    run([path], out)
    film(path, 30, seed=1)
    (outcome,) = run([path], out).outcomes
    assert outcome.status == "failed"
    assert "changed since it was extracted (sha256" in outcome.reason
    assert "--force" in outcome.reason
    assert len(Cache(out).video("a")) == 20
    assert run([path], out, force=True).outcomes[0].status == "done"
    assert len(Cache(out).video("a")) == 30
    assert run([path], out, force=True).outcomes[0].status == "skipped"


def test_another_fingerprint_is_refused_and_the_field_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", 5)
    run([path], tmp_path / "x.zarr")
    monkeypatch.setattr(crop, "MARGIN", 0.25)
    with pytest.raises(CacheError, match=r"crop.margin: 0.05 there, 0.25 now"):
        run([path], tmp_path / "x.zarr")


def test_a_feature_beyond_float16_names_video_and_frame(
    short_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = MiniXception.__call__
    seen: list[int] = []

    def loud(self: MiniXception, faces: object) -> object:
        given = dict(honest(self, faces))  # type: ignore[arg-type]
        seen.append(len(given["features"]))
        if len(seen) == 2:
            given["features"] = given["features"].clone()
            given["features"][3, 9] = 1e6
        return given

    monkeypatch.setattr(MiniXception, "__call__", loud)
    (outcome,) = run([short_clips[0]], tmp_path / "x.zarr").outcomes
    assert outcome.status == "failed"
    assert "single_face.mp4: feature 9 of frame 35 is 1e+06" in outcome.reason
    assert Cache(tmp_path / "x.zarr").video_ids() == []


def test_a_video_that_another_process_extracts_is_left_to_it(tmp_path: Path) -> None:
    path, out = film(tmp_path / "a.mp4", 5), tmp_path / "x.zarr"
    run([path], out)
    other = film(tmp_path / "b.mp4", 5)
    with claim(out, "b"):
        (outcome,) = run([other], out).outcomes
    assert (outcome.status, outcome.reason) == ("skipped", "another process is extracting it")


def test_a_manifest_is_extracted_with_its_labels(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "labels").mkdir()
    for stem in ("p01_a", "p02_a"):
        film(tmp_path / "videos" / f"{stem}.mp4", 6)
        rows = "".join(f"{i},0.{i},-0.{i}\n" for i in range(6))
        (tmp_path / "labels" / f"{stem}.csv").write_text(f"frame,valence,arousal\n{rows}")
    out = tmp_path / "x.zarr"
    result = extract(from_manifest("demo", tmp_path), out, device="cpu", workers=1)
    assert [o.status for o in result.outcomes] == ["done", "done"]
    video = Cache(out).video("p02_a")
    found = video.label("va")
    assert found is not None
    assert np.allclose(found[3], [0.3, -0.3])
    assert video.label_attributes["subject"] == "p02"
    assert Cache(out).header["dataset"] == "demo"
    assert verify(out) == []


@pytest.mark.parametrize(
    ("names", "both"), [(["a/x.mp4", "b/x.mp4"], "x"), (["a b.mp4", "a-b.mp4"], "a-b")]
)
def test_bare_videos_need_names_of_their_own(names: list[str], both: str) -> None:
    with pytest.raises(VideoError, match=f"two videos would both be called {both}: "):
        from_files([Path(name) for name in names])


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("my Vidéo 1.mp4", "my-Video-1"),
        ("-VID_20240101 (2).v2.mp4", "VID_20240101-2-.v2"),
        ("видео.mp4", "video"),
        (f"{'long ' * 45}.mp4", "-".join(["long"] * 40)),
    ],
)
def test_a_bare_videos_name_is_made_fit_for_a_folder_and_said(
    name: str, called: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = from_files([Path(name)]).jobs
    assert (job.id, job.source) == (called, name)
    assert is_safe_id(job.id)
    assert f"{name} is called {called} in the cache" in capsys.readouterr().err
    from_files([Path("plain_1.mp4")])
    assert not capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AffcacheError, match="device 'abacus' is not available here; there is"):
        extract(from_files([tmp_path / "a.mp4"]), tmp_path / "x.zarr", device="abacus")


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_is_published(
    short_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [short_clips[0], film(tmp_path / "long.mp4", 400), film(tmp_path / "next.mp4", 5)]
    out = tmp_path / "x.zarr"
    append = VideoWriter.append
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(self: VideoWriter, arrays: dict[str, np.ndarray]) -> None:
        if self.rows > 100:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        append(self, arrays)

    monkeypatch.setattr(VideoWriter, "append", fill_up)
    with pytest.raises(StorageError, match=r"features: cannot write \(File too large\)") as full:
        run(paths, out)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    monkeypatch.undo()
    assert "\n" not in str(full.value)
    assert Cache(out).video_ids() == ["single_face"]
    assert not list((out / ".affcache").glob("failed/*"))
    assert [o.status for o in run(paths, out).outcomes] == ["skipped", "done", "done"]
    assert verify(out) == []


def test_what_repair_moves_away_is_made_again(short_clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    run(short_clips, out)
    whole = contents(out)
    chunk = out / "videos" / "single_face" / "features" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 1
    chunk.write_bytes(bytes(data))
    repair(out, verify(out))
    assert Cache(out).video_ids() == ["carphone_pristine"]
    assert [o.status for o in run(short_clips, out).outcomes] == ["done", "skipped"]
    assert verify(out) == []
    assert contents(out) == whole


def test_a_frame_rate_that_the_manifest_excludes_is_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    film(tmp_path / "videos" / "a.mp4", 5)
    for fps, said in ((25, False), (50, True)):
        path = tmp_path / f"{fps}.toml"
        path.write_text(
            f'name = "m"\ntasks = []\nfps = {fps}\n[videos]\nglobs = ["videos/*.mp4"]\n'
            '[split]\nby = "id"\ntest = ["*"]\n'
        )
        source = from_manifest(str(path), tmp_path)
        extract(source, tmp_path / f"{fps}.zarr", device="cpu", workers=1)
        message = "a: 25.00 frames a second, the manifest says 50"
        assert (message in capsys.readouterr().err) == said
