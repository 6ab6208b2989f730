"""Stage one as a whole: which videos are left to do, who does them, what came of it.

Nothing stops the run but the user: a video that fails is remembered with its reason, the others
are extracted. Labels follow where the manifest has annotations, then the cache is sealed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import torch

from affcache import __version__, manifest, publish, store
from affcache.errors import AffcacheError, StorageError, VideoError
from affcache.labels.beside import Report, annotate
from affcache.labels.report import say_differences
from affcache.progress import Progress, say
from affcache.schema import FORMAT_VERSION, is_safe_id
from stages.extract import crop, detect, reader, track
from stages.extract.backbones import backbone_class
from stages.extract.job import Job, Outcome, Settings
from stages.extract.video import source_digest, standing
from stages.extract.workers import run_here, run_pool

RATE_TOLERANCE = 0.01
BATCH = {"cpu": 32, "cuda": 128, "mps": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The videos of a run: from a manifest, or named one by one."""

    name: str
    jobs: tuple[Job, ...]
    described: manifest.Manifest | None = None
    rows: tuple[manifest.Row, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run: outcomes in the order of the jobs, the labels' report, seconds of wall."""

    outcomes: tuple[Outcome, ...]
    labelled: tuple[Report, ...]
    seconds: float


def from_manifest(name_or_file: str, root: Path | None) -> Source:
    """The rows of a manifest."""
    described = manifest.load(name_or_file)
    rows = tuple(manifest.resolve(described, root))
    jobs = tuple(Job(id=r.id, path=r.path, source=r.source, face=r.face) for r in rows)
    return Source(name=described.name, jobs=jobs, described=described, rows=rows)


def from_files(paths: Sequence[Path]) -> Source:
    """Bare videos, each called by its file's stem, or by what of it can name a folder.

    Raises
    ------
    VideoError
        If two would have the same name.
    """
    jobs = tuple(
        Job(id=_called(path), path=path.absolute(), source=path.name, face="largest")
        for path in paths
    )
    for job in jobs:
        if job.id != job.path.stem:
            say(f"{job.path.name} is called {job.id} in the cache")
        twins = [str(other.path) for other in jobs if other.id == job.id]
        if len(twins) > 1:
            raise VideoError(f"two videos would both be called {job.id}: {', '.join(twins)}")
    return Source(name="videos", jobs=jobs)


def _called(path: Path) -> str:
    if is_safe_id(path.stem):
        return path.stem
    plain = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain)[:200].strip("._-") or "video"


def extract(
    source: Source,
    out: Path,
    *,
    backbone: str = "mini-xception",
    weights: Path | None = None,
    device: str = "auto",
    batch: int | None = None,
    face: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    force: bool = False,
) -> Result:
    """Extract a cache, or go on with one.

    Parameters
    ----------
    source : which videos
    out : the cache's folder, made if it is not there
    backbone, weights : a name of the table; None takes its published weights
    device : "auto", "cpu", "cuda" or "mps"
    batch : frames per batch; None takes what suits the device
    face : overrides the face of every row; None keeps what the manifest says
    workers : processes; None takes one per core on a CPU, else one
    limit : at most so many videos, the first ones
    force : replace what is published if its source or face has changed

    Raises
    ------
    AffcacheError
        If the run cannot start: unusable weights, an absent device, a cache of another fingerprint.
    StorageError
        If the disk is full; what is published by then stays, and the run can be repeated.
    """
    began = time.perf_counter()
    jobs = [replace(job, face=face) if face else job for job in source.jobs[:limit]]
    settings = _settings(out, backbone, weights, device, batch, force)
    count = workers or _default_workers(settings.device)
    count = max(1, min(count, len(jobs)))
    publish.create(out, source.name, settings.fields, _provenance())
    with store.unsealed(out):
        outcomes = _extract_all(jobs, settings, count)
        labelled = _label(source, out, outcomes)
    _say_rates(source, out, outcomes)
    return Result(outcomes=outcomes, labelled=tuple(labelled), seconds=time.perf_counter() - began)


def _settings(
    out: Path, backbone: str, weights: Path | None, device: str, batch: int | None, force: bool
) -> Settings:
    kind = backbone_class(backbone)
    path = weights.absolute() if weights is not None else kind.weights_file()
    chosen = choose_device(device)
    # A wrong file is one line now, and not one line per video later.
    kind(path, torch.device("cpu"))
    return Settings(
        cache=out,
        backbone=backbone,
        weights=path,
        device=chosen,
        batch=batch or BATCH[chosen],
        fields=fingerprint_fields(backbone, path),
        force=force,
    )


def fingerprint_fields(backbone: str, weights: Path) -> dict[str, Any]:
    """Everything that decides a cache's contents, as `affcache.publish.create` takes it."""
    kind = backbone_class(backbone)
    return {
        "format_version": FORMAT_VERSION,
        "decoder": {
            "name": "decord",
            "version": importlib.metadata.version("decord"),
            "fault_tolerance": reader.FAULT_TOLERANCE,
            "num_threads": 1,
        },
        "detector": detect.identity(),
        "track": track.identity(),
        "crop": crop.identity() | {"size": kind.size},
        "backbone": {"name": backbone, "weights": store.sha256_of(weights)},
        "streams": sorted(kind.arrays),
        "dtype": "float16",
    }


def choose_device(asked: str) -> str:
    """ "auto" is CUDA, else Apple's MPS, else the CPU; anything else must be there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        return next(name for name, present in there.items() if present)
    if not there.get(asked, False):
        have = ", ".join(name for name, present in there.items() if present)
        raise AffcacheError(f"device {asked!r} is not available here; there is {have}")
    return asked


def _default_workers(device: str) -> int:
    if device != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _provenance() -> dict[str, Any]:
    return {
        "affcache": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _extract_all(jobs: Sequence[Job], settings: Settings, workers: int) -> tuple[Outcome, ...]:
    found = _already(jobs, settings)
    left = [job for job in jobs if job.id not in found]
    processes = "this process" if workers == 1 else f"{workers} processes"
    say(
        f"extracting {len(left)} of {len(jobs)} videos with {settings.backbone} on "
        f"{settings.device} in {processes}"
    )
    with Progress("extracting", total=_count(left), unit="frames") as progress:

        def finish(outcome: Outcome) -> None:
            if outcome.status == "halted":
                raise StorageError(outcome.reason)
            found[outcome.id] = outcome
            if outcome.status == "failed":
                say(f"failed: {outcome.reason}")
            progress.advance(0, note=f"({len(found)}/{len(jobs)} videos)")

        if workers == 1:
            run_here(left, settings, progress.advance, finish)
        elif left:
            run_pool(left, settings, min(workers, len(left)), progress.advance, finish)
    return tuple(found[job.id] for job in jobs)


def _already(jobs: Sequence[Job], settings: Settings) -> dict[str, Outcome]:
    """Videos that are published: skipped, or failed because their source changed."""
    found: dict[str, Outcome] = {}
    there = [job for job in jobs if (settings.cache / "videos" / job.id).exists()]
    if not there:
        return found
    with Progress("comparing with the cache", total=len(there), unit="videos") as progress:
        for job in there:
            try:
                outcome = standing(job, settings, source_digest(job))
            except (AffcacheError, OSError) as error:
                outcome = Outcome(id=job.id, status="failed", reason=str(error))
                say(f"failed: {error}")
            if outcome is not None:
                found[job.id] = outcome
            progress.advance()
    return found


def _count(jobs: Sequence[Job]) -> int | None:
    """How many frames the containers' headers announce; None if one does not say."""
    total = 0
    for job in jobs:
        # What cannot be opened is reported when its turn comes, and counts nothing here.
        with contextlib.suppress(OSError, ValueError, IndexError):
            reader.check_file(job.path)
            with av.open(str(job.path)) as file:
                stream = file.streams.video[0]
                if not stream.frames and not stream.duration:
                    return None
                rate = float(stream.average_rate or 0)
                seconds = float((stream.duration or 0) * (stream.time_base or 0))
                total += stream.frames or round(seconds * rate)
    return total


def _say_rates(source: Source, out: Path, outcomes: Sequence[Outcome]) -> None:
    """Mention new videos whose frame rate is not the one that the manifest's format fixes."""
    fixed = source.described.fps if source.described else None
    if fixed is None:
        return
    cache = store.Cache(out)
    for outcome in outcomes:
        if outcome.status == "done":
            rate = float(cache.video(outcome.id).attributes["fps"])
            if abs(rate - fixed) > RATE_TOLERANCE * fixed:
                say(f"{outcome.id}: {rate:.2f} frames a second, the manifest says {fixed:g}")


def _label(source: Source, out: Path, outcomes: Sequence[Outcome]) -> list[Report]:
    rows = [row for row in source.rows if row.annotations]
    if source.described is None or not rows:
        return []
    there = {outcome.id for outcome in outcomes}
    reports = annotate(out, source.described, [row for row in rows if row.id in there])
    say_differences(reports)
    return reports
