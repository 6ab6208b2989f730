"""What `affcache export` and `affcache import` print: one row about what was moved."""

from __future__ import annotations

from pathlib import Path

from affcache.table import show


def export_cache(cache: Path, target: Path, *, as_json: bool) -> None:
    """Export to HDF5 and say what is in the file."""
    from affcache.hdf5 import export

    moved = export(cache, target)
    row = {
        "videos": moved.videos,
        "frames": moved.frames,
        "MB": moved.bytes / 1e6,
        "file MB": target.stat().st_size / 1e6,
    }
    show(f"{target} from {cache}", [row], as_json=as_json)


def import_hdf5(source: Path, out: Path, *, as_json: bool) -> None:
    """Import an exported cache and say what is in it."""
    from affcache.hdf5 import restore

    moved = restore(source, out)
    row = {"videos": moved.videos, "frames": moved.frames, "MB": moved.bytes / 1e6}
    show(f"{out} from {source}", [row], as_json=as_json)


def import_features(
    features: Path, labels: Path | None, spec: Path, out: Path, *, as_json: bool
) -> None:
    """Import features of others and say, video by video, what came of them."""
    from affcache.foreign.pipeline import build
    from affcache.foreign.spectoml import load_spec

    reports = build(load_spec(spec), features, labels or features, out)
    show(f"{out} from {features}", reports, as_json=as_json)
