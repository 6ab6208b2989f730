"""Initial weights from another run: a curriculum's next stage, a pretrained head, fine-tuning.

Every weight of the run that is started from must find its place; what the new head has beside it
(attention over an LSTM, say) keeps the initial values of its seed. config.json records which
weights they were, so a run says where it came from, and a changed source is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from affcache.errors import RunError
from affcache.progress import say
from stages.train.run import Run, open_run


def provenance(folder: Path | None) -> dict[str, Any] | None:
    """What config.json says of the run whose weights are taken: its folder, its file's sha256.

    Raises
    ------
    RunError
        If there is no run, or it was never trained.
    """
    if folder is None:
        return None
    source = open_run(folder)
    weights = _weights(source)
    return {
        "run": str(source.folder.resolve()),
        "head": source.recipe.head,
        "weights": weights.name,
        "sha256": _sha256(weights),
    }


def learnt_from(folder: Path) -> set[str]:
    """Paths of the caches that a run, and those that it was started from, have learnt from."""
    config = open_run(folder).config
    found = {str(cache["path"]) for cache in (config["cache"], *config.get("also", []))}
    above = config.get("start")
    if above is None or not Path(above["run"]).is_dir():
        return found
    return found | learnt_from(Path(above["run"]))


def rehearse(run: Run) -> None:
    """Complain about weights that do not fit before anything is written, as `inherit` would."""
    if run.config.get("start") is not None and not run.last.exists():
        _inherit(run, run.new_head())


def inherit(run: Run, head: nn.Module) -> None:
    """Put the weights of the run that this one starts from into its new head, if there is one.

    Raises
    ------
    RunError
        If that run is gone or has changed since, or its weights do not fit.
    """
    if run.config.get("start") is not None:
        say(_inherit(run, head))


def _inherit(run: Run, head: nn.Module) -> str:
    start = run.config["start"]
    source = open_run(Path(start["run"]))
    if _sha256(_weights(source)) != start["sha256"]:
        raise RunError(
            f"{source.folder}: has been trained on since {run.folder} was started from it; choose "
            "another --out to start from what it is now"
        )
    trained, standing = source.trained_head(torch.device("cpu"))
    # the order of columns counts: outputs of "au+va" have the shape of those of "va+au"
    alike = list(source.sizes.targets.items()) == list(run.sizes.targets.items())
    fresh = fit(head, trained.state_dict(), str(source.folder), alike)
    beside = f"; of the seed's own: {', '.join(fresh)}" if fresh else ""
    return f"initial weights of {source.folder} (iteration {standing.iteration}){beside}"


def fit(head: nn.Module, weights: Mapping[str, Tensor], where: str, alike: bool) -> list[str]:
    """Put weights into a head; returns the names of what it has beside them.

    Output layers of a head of other tasks (`Head.OUTPUTS`) are left behind.

    Parameters
    ----------
    where : the run that the weights are of
    alike : whether both have the same columns in the same order

    Raises
    ------
    RunError
        If a weight has no place there, or one of another shape.
    """
    own, outputs = head.state_dict(), getattr(head, "OUTPUTS", ())
    weights = {
        name: tensor
        for name, tensor in weights.items()
        if not name.startswith(outputs)
        or (alike and name in own and tensor.shape == own[name].shape)
    }
    homeless = [name for name in weights if name not in own]
    if homeless:
        raise RunError(
            f"{where}: holds {', '.join(homeless[:4])}, for which this head has no place; start "
            "from a run of this head, or of one that it extends"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise RunError(
                f"{where}: {name} is {_shape(tensor)} there and {_shape(own[name])} here; give "
                "both the same widths (--set model....) and the same streams and targets"
            )
    head.load_state_dict(dict(weights), strict=False)
    return [name for name in own if name not in weights]


def _weights(run: Run) -> Path:
    found = run.best if run.best.exists() else run.last
    if not found.exists():
        raise RunError(f"{run.folder}: has no weights to start from; finish `affcache train` there")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
