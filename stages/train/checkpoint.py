"""Training state in safetensors: weights, Adam's moments and where the run stands. No pickle.

A file is replaced in one step, so that a killed run leaves the previous one whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from affcache.errors import RunError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands.

    Attributes
    ----------
    iteration : how many iterations are done
    best_epoch, best_score : epoch (from 1) and validation CCC of the best so far; 0 and None
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
    sums: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights, and for a checkpoint to go on from, the optimiser's state and running sums."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimiser is not None:
        for name, parameter in model.named_parameters():
            for moment in MOMENTS:
                tensors[f"adam.{moment}.{name}"] = optimiser.state[parameter][moment]
    tensors |= {f"sums.{name}": value for name, value in (sums or {}).items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        partial,
        metadata={"standing": json.dumps(asdict(standing))},
    )
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> tuple[Standing, dict[str, Tensor]]:
    """Put weights (and moments) back into place; returns where the run stood and its sums.

    Raises
    ------
    RunError
        If the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            standing = Standing(**json.loads((file.metadata() or {})["standing"]))
    except FileNotFoundError:
        raise RunError(f"{path}: missing; was the run ever trained?") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path}: not a checkpoint of affcache ({error})") from None
    try:
        model.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: weights of another network ({reason:.200})") from None
    if optimiser is not None:
        for name, parameter in model.named_parameters():
            optimiser.state[parameter] = {
                moment: tensors[f"adam.{moment}.{name}"].to(
                    "cpu" if moment == "step" and not _on_device(optimiser) else parameter.device
                )
                for moment in MOMENTS
            }
    return standing, _under("sums.", tensors)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _on_device(optimiser: torch.optim.Optimizer) -> bool:
    """Whether the optimiser keeps its step counts beside the parameters (fused does)."""
    return bool(optimiser.defaults.get("fused"))
