"""A recipe is everything that decides a training run except the data and the seed.

Published configurations are TOML files in `recipes/` whose comments cite their papers. A file may
name another with `extends` and say only what differs; `--set key=value` says the last word.
"""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affcache.errors import RecipeError
from stages.train.heads import HEADS, head_class
from stages.train.settings import choice, fill, flag, number, numbers
from stages.train.suggest import known

FOLDER = Path(__file__).parent / "recipes"
OPTIMISERS = ("adam", "adamw", "sgd")
SCHEDULES = ("cosine", "constant", "exponential", "restarts")
PRECISIONS = ("float32", "bfloat16")
EXECUTIONS = ("eager", "compile", "graph")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """`[windows]`: random training windows, one length per batch.

    Attributes
    ----------
    shortest, longest : range of a window's length in frames, both included
    batch : windows in a batch
    mix : windows of each cache in a batch, in place of `batch`, where a run learns from several
        (`affcache train --cache A --cache B`) and windows are of one length; empty draws from all
        videos of all caches alike
    test_length : frames of the consecutive test windows; 0 means a whole video at once
    """

    shortest: int = number(35, low=1)
    longest: int = number(70, low=1)
    batch: int = number(16, low=1)
    mix: tuple[int, ...] = numbers((), low=1)
    test_length: int = number(70, low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    """`[optimiser]`: how weights descend, and the course of the learning rate.

    Attributes
    ----------
    name : "adam", "adamw" (weight decay beside the gradient, not inside it) or "sgd"
    learning_rate : at the first iteration; a head may scale it for single parameters
    beta1, beta2 : Adam's decay rates
    momentum, nesterov : of "sgd"; without momentum nesterov has no meaning
    weight_decay : L2 penalty inside the gradient; for "adamw" the share of a weight that a step
        takes away, times the learning rate
    schedule : "cosine" falls from the learning rate at the first iteration to 0 after the last;
        "exponential" stays for `after` epochs, then is multiplied by `gamma` at each epoch's start;
        "restarts" falls like a cosine within `period` epochs, starts again, and every period is
        `multiplier` times as long as the one before
    gamma, after, period, multiplier : see `schedule`; after and period in epochs
    clip : longest gradient (2-norm over all parameters), longer ones are scaled down; 0 is off
    ema : decay per iteration of an exponential average of the weights, which is then what is
        validated, kept as best and used; 0 is off
    """

    name: str = choice("adam", OPTIMISERS)
    learning_rate: float = number(2.5e-4, low=0.0)
    beta1: float = number(0.9, low=0.0, high=0.999999)
    beta2: float = number(0.999, low=0.0, high=0.999999)
    momentum: float = number(0.9, low=0.0, high=0.999999)
    nesterov: bool = flag(False)
    weight_decay: float = number(1e-4, low=0.0)
    schedule: str = choice("cosine", SCHEDULES)
    gamma: float = number(0.9, low=0.0, high=1.0)
    after: int = number(10, low=0)
    period: int = number(10, low=1)
    multiplier: int = number(1, low=1)
    clip: float = number(0.0, low=0.0)
    ema: float = number(0.0, low=0.0, high=0.999999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`[training]`: an epoch is `iterations` batches, followed by a validation.

    Attributes
    ----------
    epochs, iterations : at most so many epochs of so many batches
    patience : epochs without a better validation score after which training ends; 0 is off
    precision : of the loss's matrix products, on every device "float32" unless "bfloat16" is asked
        for (torch's autocast); weights, gradients and what is predicted stay float32. float16 would
        need its loss scaled and is not offered.
    execution : of loss and gradient, "eager", "compile" (torch.compile, slower than eager on a CPU
        for the Affective Process) or "graph" (CUDA graphs, for a GPU and a head whose loss never
        waits for it)
    """

    epochs: int = number(25, low=1)
    iterations: int = number(1000, low=1)
    patience: int = number(0, low=0)
    precision: str = choice("float32", PRECISIONS)
    execution: str = choice("eager", EXECUTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A resolved recipe: checked where it is made, trusted everywhere else.

    Attributes
    ----------
    head : a name in `stages.train.heads.HEADS`
    task : whose labels are learnt; several are joined, as in "va+expr+au"
    model : the head's own settings, an instance of its `Settings`
    """

    head: str
    task: str
    windows: WindowSettings
    optimiser: Optimiser
    training: Training
    model: Any

    def as_dict(self) -> dict[str, Any]:
        """Plain tables, such as `from_tables` takes."""
        return dataclasses.asdict(self, dict_factory=_with_lists)


TABLES: dict[str, type] = {
    "windows": WindowSettings,
    "optimiser": Optimiser,
    "training": Training,
}


def load(head: str | None = None, recipe: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a command line.

    Parameters
    ----------
    head : name of the head; None takes the recipe's
    recipe : a TOML file, or the name of one of ours; None takes the one named like the head (for
        the head of an installed package the one beside its module, and its defaults without one)
    changes : "key=value" with dotted keys and TOML values, such as "model.loss=nll+kl"

    Raises
    ------
    RecipeError
        If anything does not exist, does not parse or is out of range.
    """
    if head is not None:
        head_class(head)
    path = _file(head, recipe)
    tables, origins = _read(path) if path is not None else _defaults(str(head))
    for change in changes:
        key, value = _parse(change)
        _put(tables, key, value, f"--set {change}")
        origins.pop(".".join(key), None)
        origins[".".join(key)] = f"--set {change}"

    def where(key: str) -> str:
        """The last place that said anything about a key or about one inside it."""
        said = [origin for name, origin in origins.items() if f"{name}.".startswith(f"{key}.")]
        return said[-1] if said else str(path or head)

    if head is not None and tables.get("head", head) != head:
        raise RecipeError(
            f"{path}: is a recipe for the head {tables['head']!r}, not for --head {head}"
        )
    return from_tables({"head": head, **tables}, where)


def from_tables(tables: Mapping[str, Any], where: Callable[[str], str]) -> Recipe:
    """Check plain tables and make a recipe of them."""
    top = {"head", "task", "model", *TABLES}
    for key in tables:
        if key not in top:
            meant = _meant(key) or known("key", key, top)
            raise RecipeError(f"{where(key)}: unknown key {key!r}; {meant}")
    for key in ("model", *TABLES):
        if not isinstance(tables.get(key, {}), Mapping):
            raise RecipeError(f"{where(key)}: {key} = {tables[key]!r}, expected a table")
    name, task = tables.get("head"), tables.get("task", "va")
    if not isinstance(name, str):
        raise RecipeError(f"{where('head')}: head = {name!r}, expected the name of a head")
    able = head_class(name).TASKS
    if not isinstance(task, str) or not set(task.split("+")) <= set(able):
        raise RecipeError(
            f"{where('task')}: task = {task!r}, expected of the head {name!r}: {' + '.join(able)}"
        )
    parts: dict[str, Any] = {
        key: fill(kind, tables.get(key, {}), where, f"{key}.") for key, kind in TABLES.items()
    }
    if parts["windows"].shortest > parts["windows"].longest:
        raise RecipeError(
            f"{where('windows.shortest')}: windows.shortest = {parts['windows'].shortest} is above "
            f"windows.longest = {parts['windows'].longest}"
        )
    if parts["windows"].mix and parts["windows"].shortest != parts["windows"].longest:
        raise RecipeError(
            f"{where('windows.mix')}: windows.mix = {list(parts['windows'].mix)} mixes windows of "
            "one length; set windows.shortest and windows.longest the same"
        )
    model: object = fill(head_class(name).Settings, tables.get("model", {}), where, "model.")
    return Recipe(head=name, task=task, model=model, **parts)


def _with_lists(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table as JSON and TOML give it back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs}


def _meant(key: str) -> str:
    """What to write for a key whose table was left out, such as "epochs"; else nothing."""
    for table, kind in TABLES.items():
        if key in {field.name for field in dataclasses.fields(kind)}:
            return f"did you mean {table}.{key}?"
    return ""


def find(recipe: str) -> Path:
    """The file behind `--recipe`: a path that exists, or the name of one of ours."""
    if Path(recipe).is_file():
        return Path(recipe)
    ours = FOLDER / f"{recipe}.toml"
    if ours.is_file():
        return ours
    names = [path.stem for path in FOLDER.glob("*.toml")]
    raise RecipeError(f"{recipe}: no such recipe file; {known('recipe', recipe, names)}")


def _file(head: str | None, recipe: str | None) -> Path | None:
    """Where a recipe stands; None for a head that a package brings without one."""
    if recipe is not None or head is None or head in HEADS:
        return find(recipe or head or "ap")
    beside = Path(inspect.getfile(head_class(head))).with_name(f"{head}.toml")
    return beside if beside.is_file() else None


def _defaults(head: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The recipe of a head that has none: its first task, and everybody's defaults."""
    return {"head": head, "task": head_class(head).TASKS[0]}, {}


def _read(path: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Tables of a file over those that it extends, and in which file each dotted key stood."""
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file ({error})") from None
    parent = own.pop("extends", None)
    tables: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if parent is not None:
        if not isinstance(parent, str):
            raise RecipeError(f"{path}: extends = {parent!r}, expected the name of a recipe")
        beside = path.with_name(f"{parent}.toml")
        above = beside if beside.is_file() else find(parent)
        if above.resolve() in (*seen, path.resolve()):
            raise RecipeError(f"{path}: extends {parent!r}, which extends it in turn")
        tables, origins = _read(above, (*seen, path.resolve()))
    for key, value in _leaves(own):
        _put(tables, key, value, str(path))
        origins[".".join(key)] = str(path)
    return tables, origins


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key, value in table.items():
        inside = _leaves(value, (*path, key)) if isinstance(value, Mapping) else []
        found += inside or [((*path, key), value)]
    return found


def _put(tables: dict[str, Any], key: Sequence[str], value: Any, where: str) -> None:
    for part in key[:-1]:
        below = tables.setdefault(part, {})
        if not isinstance(below, dict):
            raise RecipeError(f"{where}: {part} is a value, not a table of values")
        tables = below
    tables[key[-1]] = value


def _parse(change: str) -> tuple[list[str], Any]:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: expected key=value, such as training.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word, as in model.loss=nll+kl
    return [part.strip() for part in key.split(".")], value
