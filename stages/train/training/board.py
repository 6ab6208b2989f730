"""A run's scalars for TensorBoard, where it is installed; written once an epoch, never in between.

See it with `pip install tensorboard` and `tensorboard --logdir runs`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

Write = Callable[[Mapping[str, Any]], None]


@contextmanager
def board(folder: Path, after: int) -> Iterator[Write]:
    """What takes a row of metrics.jsonl; without TensorBoard it does nothing.

    Parameters
    ----------
    folder : where the event files go
    after : the last epoch that counts; what an interrupted run wrote beyond it is hidden
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorBoard's own dependencies
            from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda row: None
        return
    with SummaryWriter(folder, purge_step=after + 1) as writer:

        def write(row: Mapping[str, Any]) -> None:
            for name, value in flat(row):
                writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        yield write


def flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of nested tables by their path, such as "validation/va/ccc_mean"."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        elif isinstance(value, Real) and name not in ("epoch", "iteration"):
            yield f"{prefix}{name}", float(value)
