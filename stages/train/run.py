"""A run folder holds all that a trained head needs to be resumed, scored and used elsewhere.

config.json (recipe, seed, cache and its fingerprint, pseudo-labels, sizes, spread of the training
labels), pseudo.json (the pseudo-labels' provenance, with the readout's weights where there is one),
metrics.jsonl (a line per epoch), last.safetensors (to go on from), best.safetensors (to use).
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from affcache.arrays import read_json, write_json
from affcache.errors import CacheError, RunError
from affcache.progress import say
from stages.train import checkpoint
from stages.train.heads import Head, Sizes, head_class
from stages.train.recipe import Recipe, from_tables
from stages.train.seeds import stream

CONFIG = "config.json"
DECISIVE = ("recipe", "seed", "pseudo", "sizes", "data")  # what a resumed run must share
ALSO = ("start",)  # likewise, absent from the config of runs that were made before there was any
FILES = "files"  # likewise, unknown of runs that were made before it was recorded
NAMED = 4  # differences that a message names: between two heads there are dozens


@dataclass(frozen=True)
class Run:
    """One run folder, opened.

    Attributes
    ----------
    folder : where it lies
    config : the parsed config.json
    """

    folder: Path
    config: Mapping[str, Any]

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe, checked again because files can be edited."""
        return from_tables(self.config["recipe"], lambda _: str(self.folder / CONFIG))

    @property
    def sizes(self) -> Sizes:
        """What the data decided about the head; pairs, because the order of columns matters."""
        found = self.config["sizes"]
        targets = {task: tuple(names) for task, names in found["targets"]}
        return Sizes(dict(found["streams"]), targets, found["fps"])

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best epoch; absent where there was no validation split."""
        return self.folder / "best.safetensors"

    def pseudo_attributes(self) -> dict[str, Any]:
        """Provenance of the pseudo-labels that the run was trained with."""
        path = self.folder / "pseudo.json"
        return read_json(path) if path.exists() else {}

    def new_head(self) -> Head:
        """A head with the initial weights that the seed decides, on the CPU."""
        recipe = self.recipe
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(stream(self.config["seed"], -1))
            return head_class(recipe.head)(self.sizes, recipe.model)

    def trained_head(self, device: torch.device) -> tuple[Head, checkpoint.Standing]:
        """The head with its best weights (the last, without a validation split), for testing."""
        head = self.new_head()
        standing = checkpoint.load(self.best if self.best.exists() else self.last, head)
        return head.to(device).eval(), standing

    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the metrics in one step."""
        partial = self.folder / "metrics.jsonl.partial"
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        partial.replace(self.folder / "metrics.jsonl")


def open_run(folder: Path) -> Run:
    """Open a run that exists.

    Raises
    ------
    RunError
        If the folder is missing or is not a run.
    """
    try:
        config = read_json(folder / CONFIG)
    except CacheError as error:
        raise RunError(f"{folder}: no run here ({error}); make one with `affcache train`") from None
    missing = [key for key in (*DECISIVE, "cache", "training_labels") if key not in config]
    if missing:
        raise RunError(f"{folder / CONFIG}: lacks {', '.join(missing)}")
    return Run(folder, config)


def start_or_resume(folder: Path, config: Mapping[str, Any], pseudo: Mapping[str, Any]) -> Run:
    """Make a run folder, or open the one that is there if it is the same run.

    Another run that never got as far as a checkpoint, because its loss was not a number, say, has
    nothing to lose: its settings are replaced.

    Raises
    ------
    RunError
        If the folder holds something else; the message names the keys that differ.
    """
    if (folder / CONFIG).exists():
        run = open_run(folder)
        keys = [*DECISIVE, *ALSO, *({FILES} & run.config.keys())]
        differing = _differences(_decisive(run.config, keys), _decisive(config, keys))
        if differing and not run.last.exists():
            with held(run):
                say(f"{folder}: held a run without a checkpoint, whose settings are replaced")
                return _written(folder, config, pseudo)
        if differing:
            more = f"; and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
            raise RunError(
                f"{folder}: holds another run ({'; '.join(differing[:NAMED])}{more}); "
                "choose another --out"
            )
        return run
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: not empty and not a run; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return _written(folder, config, pseudo)


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Keep other processes out of the folder; the kernel drops a dead one's lock."""
    with (run.folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{run.folder}: another process is training into it") from None
        yield


def _written(folder: Path, config: Mapping[str, Any], pseudo: Mapping[str, Any]) -> Run:
    write_json(folder / "pseudo.json", pseudo)
    write_json(folder / CONFIG, config)
    return open_run(folder)


def _decisive(config: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """What makes two runs the same; a cache may lie elsewhere, and must hold the same features."""
    found = {key: config.get(key) for key in keys}
    return found | {"cache": {"fingerprint": config["cache"]["fingerprint"]}}


def _differences(there: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new and f"{prefix}{key}" == "data":  # a digest, which tells nobody anything
            found.append("data: the cache has other videos, labels or pseudo-labels now")
        elif old != new:
            found.append(f"{prefix}{key}: {old!s:.40} there, {new!s:.40} now")
    return found
