"""One video's way into the cache: decode, detect, follow, crop, backbone, write.

The decoder works ahead in its child process and a thread writes behind, so the device waits for
neither. A video is whole and public, or not there.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from affcache import publish
from affcache.arrays import METADATA, read_json
from affcache.errors import AffcacheError, StorageError, VideoError
from affcache.schema import VIDEO_ARRAYS
from affcache.store import sha256_of
from stages.extract.backbones import Backbone, backbone_class
from stages.extract.crop import crops
from stages.extract.decode import Batch, Decoder
from stages.extract.detect import Detector, Faces
from stages.extract.job import PARTS, Job, Outcome, Settings, Tell
from stages.extract.reader import check_file
from stages.extract.track import Track, step

BATCHES_IN_FLIGHT = 4
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Models:
    """A worker's decoder and networks, loaded once for all of its videos."""

    def __init__(self, settings: Settings) -> None:
        self.device = torch.device(settings.device)
        if self.device.type == "cpu":
            # Two threads that wait for each other at every small operation are slower than one.
            torch.set_num_threads(1)
        self.decoder = Decoder(batch=settings.batch)
        self.detector = Detector(self.device)
        self.backbone: Backbone = backbone_class(settings.backbone)(settings.weights, self.device)


def extract_video(job: Job, settings: Settings, models: Models, tell: Tell) -> Outcome:
    """Extract one video, or say why not; what fails is put into quarantine.

    Parameters
    ----------
    job : which video, whose face
    settings : of the run
    models : of this worker
    tell : called with the number of frames that were just done
    """
    try:
        return _extract(job, settings, models, tell)
    except (AffcacheError, OSError) as error:
        if isinstance(error, StorageError) or getattr(error, "errno", None) in FULL:
            return Outcome(id=job.id, status="halted", reason=str(error))
        reason = " ".join(str(error).split())
        publish.quarantine(settings.cache, job.id, job.source, reason)
        return Outcome(id=job.id, status="failed", reason=reason)


def source_digest(job: Job) -> str:
    """sha256 of a video's file.

    Raises
    ------
    VideoError
        If there is nothing to read: no file, a folder, an empty one.
    """
    try:
        check_file(job.path)
    except ValueError as error:
        raise VideoError(f"{job.path}: {error}") from None
    return sha256_of(job.path)


def standing(job: Job, settings: Settings, digest: str) -> Outcome | None:
    """What is to be said of a video that is published already; None if it is to be extracted.

    Raises
    ------
    VideoError
        If what is published came from another source or face, and nobody asked to replace it.
    """
    there = settings.cache / "videos" / job.id / METADATA
    if not there.exists():
        return None
    before = read_json(there)["attributes"]
    if before["fingerprint"] == publish.video_fingerprint(settings.fields, job.face, digest):
        return Outcome(id=job.id, status="skipped", reason="already in the cache")
    if settings.force:
        return None
    changed = (
        f"the cache has the {before['face']} face, now {job.face}"
        if before["source_sha256"] == digest
        else f"sha256 {before['source_sha256'][:12]} when extracted, {digest[:12]} now"
    )
    raise VideoError(
        f"{job.path}: video {job.id} changed since it was extracted ({changed}); "
        "--force replaces it, together with its labels and pseudo-labels"
    )


def _extract(job: Job, settings: Settings, models: Models, tell: Tell) -> Outcome:
    digest = source_digest(job)
    with publish.claim(settings.cache, job.id) as mine:
        if not mine:
            return Outcome(id=job.id, status="skipped", reason="another process is extracting it")
        if (found := standing(job, settings, digest)) is not None:
            publish.release(settings.cache, job.id)
            return found
        outcome = _run(job, settings, models, tell, digest)
        publish.release(settings.cache, job.id)
        return outcome


def _run(job: Job, settings: Settings, models: Models, tell: Tell, digest: str) -> Outcome:
    seconds = dict.fromkeys(PARTS, 0.0)
    track, faces = Track(), 0
    with (
        publish.VideoWriter(settings.cache, job.id, {}) as writer,
        models.decoder.open(job.path) as (clip, batches),
    ):
        with _writing(writer, seconds) as write:
            for batch in batches:
                seconds["decode"] += batch.seconds
                track, rows = _batch_rows(batch, models, job.face, track, seconds)
                faces += int(rows["valid"].sum())
                _refuse_overflow(rows, batch.start, job)
                write(rows)
                tell(len(batch.time))
        if writer.rows == 0:
            raise VideoError(f"{job.path}: has no frame that can be shown")
        _forget_derived(settings.cache, job.id)
        writer.publish(
            {
                "fps": clip.fps,
                "width": clip.width,
                "height": clip.height,
                "source": job.source,
                "source_sha256": digest,
                "source_bytes": job.path.stat().st_size,
                "face": job.face,
                "fingerprint": publish.video_fingerprint(settings.fields, job.face, digest),
            }
        )
    return Outcome(id=job.id, status="done", frames=writer.rows, faces=faces, seconds=seconds)


def _batch_rows(
    batch: Batch, models: Models, face: str, track: Track, seconds: dict[str, float]
) -> tuple[Track, dict[str, np.ndarray]]:
    """All arrays of a batch's frames, and what is followed after it."""
    began = time.perf_counter()
    frames = torch.from_numpy(batch.frames).to(models.device)
    found = models.detector.detect(frames)
    seconds["detect"] += (middle := time.perf_counter()) - began
    chosen: list[tuple[int, int]] = []
    for row, here in enumerate(found):
        track, index = step(track, here.box, face, frames.shape[2])
        if index is not None:
            chosen.append((row, index))
    given = embed(frames, found, chosen, models.backbone)
    seconds["backbone"] += time.perf_counter() - middle
    rows = _blank_rows(len(frames), models.backbone)
    rows["time"] = batch.time
    if chosen:
        at = [row for row, _ in chosen]
        rows["valid"][at] = True
        for name in ("box", "landmarks", "score"):
            rows[name][at] = [getattr(found[row], name)[index] for row, index in chosen]
        for name, values in given.items():
            rows[name][at] = values
    return track, rows


def embed(
    frames: Tensor, found: list[Faces], chosen: list[tuple[int, int]], backbone: Backbone
) -> dict[str, np.ndarray]:
    """The backbone's arrays (k, ...) for the chosen (row, face) pairs; empty without any."""
    if not chosen:
        return {}
    boxes = torch.from_numpy(np.stack([found[row].box[index] for row, index in chosen]))
    faces = crops(frames, boxes, [row for row, _ in chosen], backbone.size)
    return {name: values.float().cpu().numpy() for name, values in backbone(faces).items()}


def _blank_rows(count: int, backbone: Backbone) -> dict[str, np.ndarray]:
    """Rows of frames without a face; features still in float32, narrowed when they are stored."""
    shapes: dict[str, tuple[int, ...]] = {
        "valid": (),
        "time": (),
        "box": (4,),
        "landmarks": (5, 2),
        "score": (),
        **backbone.arrays,
    }
    rows = {}
    for name, shape in shapes.items():
        spec = VIDEO_ARRAYS[name]
        dtype = np.float32 if spec.dtype == "float16" else np.dtype(spec.dtype)
        rows[name] = np.full((count, *shape), spec.missing, dtype)
    return rows


def _refuse_overflow(rows: Mapping[str, np.ndarray], start: int, job: Job) -> None:
    """float16 ends at 65,504: name the video and the frame, and never store an infinity."""
    features = rows["features"]
    bad = ~(np.abs(features) < 65520.0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise VideoError(
            f"{job.path}: feature {column} of frame {start + row} is {features[row, column]:g}, "
            "outside float16's range of 65504; scale the backbone's output"
        )


class _Write:
    """Hands rows to the writing thread, and lets at most a few batches wait there."""

    def __init__(
        self, writer: publish.VideoWriter, seconds: dict[str, float], pool: ThreadPoolExecutor
    ) -> None:
        self._writer, self._seconds, self._pool = writer, seconds, pool
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None:
        self._waiting.append(self._pool.submit(self._append, rows))
        while len(self._waiting) >= BATCHES_IN_FLIGHT:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait for what is on its way; an error of the thread surfaces here."""
        while self._waiting:
            self._waiting.popleft().result()

    def _append(self, rows: Mapping[str, np.ndarray]) -> None:
        began = time.perf_counter()
        self._writer.append(rows)
        self._seconds["write"] += time.perf_counter() - began


@contextmanager
def _writing(writer: publish.VideoWriter, seconds: dict[str, float]) -> Iterator[_Write]:
    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        write = _Write(writer, seconds, pool)
        yield write
        write.finish()


def _forget_derived(cache: Path, video_id: str) -> None:
    """Labels and pseudo-labels of a video that is being replaced describe other frames."""
    if not (cache / "videos" / video_id).exists():
        return
    for folder in [cache / "labels" / video_id, *(cache / "pseudo").glob(f"*/{video_id}")]:
        if folder.exists():
            shutil.rmtree(folder)
