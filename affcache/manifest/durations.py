"""How long a video says it is, from its container; no frame is decoded."""

from __future__ import annotations

from pathlib import Path


def seconds_of(path: Path) -> float | None:
    """A video's duration in seconds by its container's metadata.

    The video stream's own duration comes before the container's, which counts the sound too.

    Returns
    -------
    Seconds, or None where the file is no video or does not say (`affcache extract` will).
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError):
        return None
