"""A folder of simulated, labelled face videos: drawn, filmed, encoded, and never made twice.

Layout: `videos/<subject>_<clip>.mp4`, `labels/<subject>_<clip>.csv` (frame, valence, arousal) and
`simulation.json`, which says that all of it is simulated, from what, how and from which seed.
Every clip follows from (seed, person, clip) alone, so an interrupted run goes on where it stopped,
and the number of workers changes nothing: labels are equal to the byte, pictures to the pixel up to
the encoder (x264's AVX-512 code does not always make the same choices twice).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from affcache.progress import Progress, say
from stages.simulate.camera import film
from stages.simulate.drives import draw
from stages.simulate.portraits import PEOPLE, portraits
from stages.simulate.record import ABOUT, ENCODER, Settings, claim, subject_name
from stages.simulate.warp import Portrait


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One video to make: person and clip count from 0, the names count from 1."""

    person: int
    clip: int

    @property
    def subject(self) -> str:
        """The person's name in the data set."""
        return subject_name(self.person)

    @property
    def stem(self) -> str:
        """The file name of video and labels, without its ending."""
        return f"{self.subject}_c{self.clip + 1}"


def simulate_videos(out: Path, settings: Settings, workers: int) -> list[dict[str, Any]]:
    """Make what is missing of a simulated data set; one row per person about what is there.

    Raises
    ------
    SimulationError
        If the folder holds a simulation of other settings, or something else.
    """
    claim(out, settings)
    clips = [
        Clip(person=person, clip=clip)
        for person in range(settings.people)
        for clip in range(settings.clips)
    ]
    missing = [clip for clip in clips if not (out / "videos" / f"{clip.stem}.mp4").exists()]
    if len(missing) < len(clips):
        say(f"{len(clips) - len(missing)} of {len(clips)} videos are there already: kept")
    if missing:
        faces = portraits(PEOPLE[: settings.people], settings.size)
        with Progress("simulating", total=len(missing), unit="videos") as progress:
            for stem in _make_all(out, settings, faces, missing, workers):
                progress.advance(note=stem)
    (out / ".partial").rmdir()
    return _summary(settings)


def make(out: Path, settings: Settings, face: Portrait, clip: Clip) -> str:
    """Draw, film and encode one clip, labels first: a video that is there is complete."""
    drawing, filming = (
        np.random.default_rng([settings.seed, clip.person, clip.clip, part]) for part in (0, 1)
    )
    drives = draw(drawing, settings.frames, settings.fps, settings.habits)
    partial = out / ".partial" / clip.stem
    partial.with_suffix(".csv").write_text(label_text(drives.labels), encoding="utf-8")
    partial.with_suffix(".csv").replace(out / "labels" / f"{clip.stem}.csv")
    pictures = film(face, drives, settings.size, settings.habits.noise_sd, filming)
    encode(partial.with_suffix(".mp4"), pictures, settings.size, settings.fps)
    partial.with_suffix(".mp4").replace(out / "videos" / f"{clip.stem}.mp4")
    return clip.stem


def label_text(labels: np.ndarray) -> str:
    """Labels (frame, 2) as `frame,valence,arousal`, frames from 0, six decimals."""
    rows = [f"{i},{valence:.6f},{arousal:.6f}" for i, (valence, arousal) in enumerate(labels)]
    return "\n".join(["frame,valence,arousal", *rows, ""])


def encode(path: Path, batches: Iterable[np.ndarray], size: int, fps: float) -> None:
    """Write uint8 RGB batches (n, size, size, 3) as H.264 in an mp4, one thread, constant rate."""
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = ABOUT
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options=ENCODER)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for count, picture in enumerate(chain.from_iterable(batches)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = count, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def default_workers() -> int:
    """As many processes as this one may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_all(
    out: Path, settings: Settings, faces: Sequence[Portrait], clips: Sequence[Clip], workers: int
) -> Iterable[str]:
    if min(workers, len(clips)) == 1:
        yield from (make(out, settings, faces[clip.person], clip) for clip in clips)
        return
    with ProcessPoolExecutor(
        max_workers=min(workers, len(clips)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        jobs = [pool.submit(make, out, settings, faces[clip.person], clip) for clip in clips]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _summary(settings: Settings) -> list[dict[str, Any]]:
    return [
        {
            "subject": subject_name(i),
            "portrait": f"{person.filename}, frame {person.frame}, face {person.face}",
            "videos": settings.clips,
            "frames": settings.clips * settings.frames,
            "seconds": settings.clips * settings.frames / settings.fps,
        }
        for i, person in enumerate(PEOPLE[: settings.people])
    ]
