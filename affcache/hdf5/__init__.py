"""A cache as one HDF5 file, and back: the same groups, arrays, dimensions and attributes.

What the file holds: `videos/<id>`, `labels/<id>` and `pseudo/<name>/<id>` as in the cache, every
array chunked along its frames so that a window of a sequence is one or two chunks, its dimensions
labelled, and `time` attached as the scale of every "frame" dimension. Numbers, truth values and
texts among the attributes are HDF5's own; a list, an object or null is JSON text, and the attribute
`affcache_json` of the same group lists those. The private folder (quarantine, failures) stays.

Import gives the same cache back, to the byte of every chunk file and the seal. It reads nothing but
plain arrays that lie in the file itself: links, external storage and other types are refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from affcache import publish, store, verify
from affcache.arrays import METADATA, map_array, read_object
from affcache.errors import CacheError
from affcache.hdf5.admission import SCHEMAS, admit, header_of, opened, refuse_bomb, refuse_link
from affcache.hdf5.attributes import read_attributes, write_attributes
from affcache.hdf5.sink import Sink
from affcache.progress import Progress
from affcache.schema import PSEUDO_ARRAYS, ArraySpec, is_safe_id
from affcache.staging import sync_folder
from affcache.store import Cache

CHUNK_BYTES = 1 << 17
BLOCK_BYTES = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was exported or imported: videos, their frames, and the bytes of all arrays."""

    videos: int
    frames: int
    bytes: int


def export(path: Path, target: Path) -> Moved:
    """Write a cache as HDF5; the file appears whole or not at all.

    Parameters
    ----------
    path : the cache's folder or zip
    target : the file, which must not exist yet

    Raises
    ------
    CacheError
        If there is no cache, or the target is there already.
    """
    cache = Cache(path)
    if target.exists():
        raise CacheError(f"{target}: exists already; remove it or choose another name")
    if not target.absolute().parent.is_dir():
        raise CacheError(f"{target}: there is no folder {target.absolute().parent}")
    trunk, leaves = _tree(lambda group: _groups_of_cache(cache, group))
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    size = 0
    try:
        with Sink(partial) as sink:
            with (
                h5py.File(sink, "w") as file,
                Progress("exporting", len(leaves), "groups") as progress,
            ):
                for group in trunk:
                    document = read_object(cache.place, f"{group}/{METADATA}".lstrip("/"))
                    mine = file.require_group(f"/{group}")
                    write_attributes(mine, document.get("attributes", {}))
                for group in leaves:
                    size += _export_group(cache, file.create_group(group), group)
                    sink.check()
                    progress.advance(note=group)
            sink.check()
            os.fsync(sink.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(target.absolute().parent)
    frames = sum(len(video) for video in cache.videos())
    return Moved(videos=len(cache.video_ids()), frames=frames, bytes=size)


def restore(source: Path, out: Path) -> Moved:
    """Make a cache of what `export` wrote; a broken import is completed by the same command.

    Parameters
    ----------
    source : the HDF5 file
    out : the cache's folder, made if it is not there

    Raises
    ------
    CacheError
        If the file is not an exported cache, holds what a cache cannot hold or what `verify` finds
        fault with, or the folder holds a cache of another fingerprint.
    """
    with opened(source) as file:
        header = header_of(file)
        trunk, leaves = _tree(lambda group: _groups_of_file(file, group))
        refuse_bomb(file, leaves, source)
        fresh = not (out / METADATA).exists()
        publish.create(
            out, str(header.get("dataset")), header["fields"], header.get("provenance", {})
        )
        with store.unsealed(out), Progress("importing", len(leaves), "groups") as progress:
            if fresh:
                store.write_group(out, read_attributes(file))
            for group in (g for g in trunk if g and g.count("/") == 0):
                store.write_group(out / group, read_attributes(file[group]))
            size = 0
            for group in leaves:
                if not group.startswith("pseudo/"):
                    size += _import_group(file[group], out)
                    progress.advance(note=group)
            for group in (g for g in trunk if g.startswith("pseudo/")):
                rows = _PseudoRows(file[group])
                attributes = read_attributes(file[group])
                store.write_pseudo(out, group.removeprefix("pseudo/"), attributes, rows)
                size += rows.size
                progress.advance(len(rows), note=group)
        for fault in verify.verify(out):
            raise CacheError(
                f"{source}: holds what no cache may ({fault.where}: {fault.detail}); `affcache "
                f"verify {out}` says all that is wrong, and with --repair moves it out of the way"
            )
        cache = Cache(out)
        frames = sum(len(video) for video in cache.videos())
        return Moved(videos=len(cache.video_ids()), frames=frames, bytes=size)


def _tree(children: Callable[[str], list[str]]) -> tuple[list[str], list[str]]:
    """The groups above the videos ("" is the root), and those that hold arrays."""
    trunk = ["", *(group for group in SCHEMAS if group in children(""))]
    leaves = [f"{g}/{name}" for g in ("videos", "labels") if g in trunk for name in children(g)]
    for name in children("pseudo") if "pseudo" in trunk else ():
        trunk.append(f"pseudo/{name}")
        leaves += [f"pseudo/{name}/{video}" for video in children(f"pseudo/{name}")]
    return trunk, leaves


def _groups_of_cache(cache: Cache, group: str) -> list[str]:
    names = cache.place.members(group)
    there = [n for n in names if cache.place.has(f"{group}/{n}/{METADATA}".lstrip("/"))]
    return list(filter(is_safe_id, there))


def _groups_of_file(file: h5py.File, group: str) -> list[str]:
    parent = file[group] if group else file
    for name in parent:
        refuse_link(parent, name)
        if not is_safe_id(name) or not isinstance(parent[name], h5py.Group):
            raise CacheError(f"{file.filename}: {group}/{name!r:.80} is not a group of a cache")
    return list(parent)


def _export_group(cache: Cache, group: h5py.Group, name: str) -> int:
    """One video's arrays; returns their bytes."""
    place = cache.place
    write_attributes(group, read_object(place, f"{name}/{METADATA}").get("attributes", {}))
    size = 0
    for array in place.members(name):
        if not place.has(f"{name}/{array}/{METADATA}"):
            continue
        document = read_object(place, f"{name}/{array}/{METADATA}")
        dataset = _write_array(group, array, map_array(place, f"{name}/{array}"), document)
        size += dataset.nbytes
    video = f"/videos/{name.split('/')[-1]}/time"
    if video in group.file:
        _attach_time(group, group.file[video])
    return size


def _write_array(
    group: h5py.Group, name: str, rows: np.ndarray, document: Mapping[str, Any]
) -> h5py.Dataset:
    per_row = rows.itemsize * math.prod(rows.shape[1:])
    here = max(1, min(len(rows), CHUNK_BYTES // max(per_row, 1)))
    fill = document.get("fill_value")
    dataset = group.create_dataset(
        name,
        shape=rows.shape,
        dtype=rows.dtype,
        chunks=(here, *rows.shape[1:]) if rows.size else None,
        fillvalue=rows.dtype.type(math.nan if fill == "NaN" else fill),
    )
    for axis, label in enumerate(document.get("dimension_names") or ()):
        dataset.dims[axis].label = str(label)
    for start, stop in _blocks(len(rows), per_row, here):
        dataset[start:stop] = rows[start:stop]
    write_attributes(dataset, document.get("attributes", {}))
    return dataset


def _attach_time(group: h5py.Group, time: h5py.Dataset) -> None:
    if not time.is_scale:
        time.make_scale("time")
    for dataset in group.values():
        if dataset != time and dataset.dims[0].label == "frame" and len(dataset) == len(time):
            dataset.dims[0].attach_scale(time)


def _blocks(rows: int, per_row: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Consecutive rows of a few megabytes, whole chunks each."""
    step = max(1, BLOCK_BYTES // max(per_row, 1) // multiple) * multiple
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _import_group(group: h5py.Group, out: Path) -> int:
    """One video or its labels; returns the bytes of its arrays."""
    kind, video_id = group.name.strip("/").split("/")
    attributes = read_attributes(group)
    arrays = {name: admit(group, name, SCHEMAS[kind]) for name in group}
    size = sum(int(group[name].nbytes) for name in arrays)
    if kind == "labels":
        rows = {name: group[name][()] for name in arrays}
        store.write_labels(out, video_id, rows, attributes)
        return size
    mine = attributes.get("fingerprint")
    with publish.claim(out, video_id) as free:
        if not free:
            raise CacheError(f"{out}: another process writes video {video_id}; try again later")
        if mine is not None and publish.published_fingerprint(out, video_id) == mine:
            return size
        with publish.VideoWriter(out, video_id, arrays) as writer:
            for block in _together(group, arrays):
                writer.append(block)
            writer.publish(attributes)
    return size


def _together(
    group: h5py.Group, arrays: Mapping[str, ArraySpec]
) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of a video, a few megabytes of rows of all of them at a time."""
    lengths = {name: len(group[name]) for name in arrays}
    if len(set(lengths.values())) != 1:
        raise CacheError(
            f"{group.file.filename}: {group.name} has arrays of unequal rows {lengths}"
        )
    frames = next(iter(lengths.values()))
    per_row = sum(int(group[name].nbytes) for name in arrays) // max(frames, 1)
    for start, stop in _blocks(frames, per_row):
        yield {name: group[name][start:stop] for name in arrays}


class _PseudoRows(Mapping[str, Mapping[str, np.ndarray]]):
    """A set of pseudo-labels, read video by video while it is written."""

    def __init__(self, group: h5py.Group) -> None:
        self.group, self.size = group, 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.group)

    def __len__(self) -> int:
        return len(self.group)

    def __getitem__(self, video_id: str) -> dict[str, np.ndarray]:
        group = self.group[video_id]
        for name in group:
            admit(group, name, PSEUDO_ARRAYS)
        rows = {name: group[name][()] for name in group}
        self.size += sum(array.nbytes for array in rows.values())
        return rows
