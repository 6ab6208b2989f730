"""Training state in safetensors: weights, the optimiser's and where the run stands. No pickle.

Tensors are named model.<parameter>, optimiser.<what>.<parameter>, average.<parameter> and
sums.<term>. A file is replaced in one step, so that a killed run leaves the previous one whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as tensorfile
from torch import Tensor, nn

from affcache.errors import RunError
from affcache.staging import staged_file, storing, write_at
from stages.train.training.averaging import Average


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands.

    Attributes
    ----------
    iteration : how many iterations are done
    best_epoch, best_score : epoch (from 1) and validation score of the best so far; 0 and None
        before the first validation
    """

    iteration: int = 0
    best_epoch: int = 0
    best_score: float | None = None


def save(
    path: Path,
    model: nn.Module,
    standing: Standing,
    optimiser: torch.optim.Optimizer | None = None,
    average: Average | None = None,
    sums: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights; for a checkpoint to go on from, also what else the next iteration needs."""
    sections = {
        "model": model.state_dict(),
        "optimiser": {} if optimiser is None else _moments(model, optimiser),
        "average": {} if average is None else average.mean,
        "sums": sums or {},
    }
    data = tensorfile.save(  # its save_file hides files from colleagues, whatever the umask
        {
            f"{section}.{name}": value.detach().cpu().contiguous()
            for section, own in sections.items()
            for name, value in own.items()
        },
        metadata={"standing": json.dumps(asdict(standing))},
    )
    with staged_file(path, replace=True) as descriptor, storing(path):
        write_at(descriptor, data, 0)


def load(path: Path, model: nn.Module) -> Standing:
    """Put the weights to be used into place: averaged ones, where the run averages.

    Raises
    ------
    RunError
        If the file is missing, damaged, or of another network.
    """
    standing, tensors = _read(path)
    _put(path, model, _under("model.", tensors) | _under("average.", tensors))
    return standing


def resume(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: Average
) -> tuple[Standing, dict[str, Tensor]]:
    """Put everything back into place; returns where the run stood and its sums.

    Raises
    ------
    RunError
        If the file is missing, damaged, or of another network.
    """
    standing, tensors = _read(path)
    _put(path, model, _under("model.", tensors))
    state, numbers = optimiser.state_dict(), _numbers(model, optimiser)
    for key, value in _under("optimiser.", tensors).items():
        what, _, name = key.partition(".")
        state["state"].setdefault(numbers[name], {})[what] = value
    optimiser.load_state_dict(state)
    for name, value in _under("average.", tensors).items():
        average.mean[name].copy_(value)
    device = next(model.parameters()).device
    return standing, {name: value.to(device) for name, value in _under("sums.", tensors).items()}


def _moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that any of torch's optimisers keeps for a parameter, by <what>.<parameter>."""
    names = {number: name for name, number in _numbers(model, optimiser).items()}
    return {
        f"{what}.{names[number]}": value
        for number, own in optimiser.state_dict()["state"].items()
        for what, value in own.items()
        if value is not None
    }


def _numbers(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, int]:
    """Parameters' names and their numbers in the optimiser's state, which follow its groups."""
    order = {p: i for i, p in enumerate(p for g in optimiser.param_groups for p in g["params"])}
    return {name: order[parameter] for name, parameter in model.named_parameters()}


def _read(path: Path) -> tuple[Standing, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Standing(**json.loads((file.metadata() or {})["standing"])), tensors
    except FileNotFoundError:
        raise RunError(f"{path}: missing; was the run ever trained?") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path}: not a checkpoint of affcache ({error})") from None


def _put(path: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: weights of another network ({reason:.200})") from None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
