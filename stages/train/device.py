"""Where a head computes: the fastest device that there is, or the one that was asked for."""

from __future__ import annotations

import torch

from affcache.errors import RecipeError
from stages.train.heads import Windows

CPU_THREADS = 1  # at these sizes a second thread costs more at its barriers than it computes


def choose(name: str) -> torch.device:
    """The device behind "auto", "cpu", "cuda", "cuda:1", "mps" and so on.

    Raises
    ------
    RecipeError
        If torch does not know the name or cannot reach such a device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"--device {name}: {reason}; try --device auto or cpu") from None
    if device.type == "cpu":
        torch.set_num_threads(CPU_THREADS)
    return device


def described(device: torch.device) -> str:
    """A device in words, such as "cuda (NVIDIA H200)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} thread)" if device.type == "cpu" else device.type


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that layers of this device draw from by themselves."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    if device.type == "mps":
        return torch.Generator("mps")
    return torch.default_generator


def on(device: torch.device, windows: Windows) -> Windows:
    """Windows moved to a device in their small types, then widened to float32 there."""
    moved = [tensor.to(device, non_blocking=True) for tensor in windows]
    return Windows(*(t.float() if t.is_floating_point() else t for t in moved))
