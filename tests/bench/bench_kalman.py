"""How fast the Kalman layer is, beside the textbook's loop in the same process.

Batch 8, 7,500 steps (5 minutes at 25 fps), 3 states, float64, forward and backward, one thread. The
loop is paper 003's five equations frame by frame with autograd through all of them, the oracle of
the tests. Ways take turns; a ratio is the median over turns of the loop's time to a way's, and the
gradients of every way are compared with its loop's. Times are the process's CPU time: on a machine
with other work, the clock on the wall punishes whoever takes long.

    python tests/bench/bench_kalman.py [--turns 5] [--steps 7500] [--record]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from stages.train.kalman.extended import extended
from stages.train.kalman.linear import filtered, settled_belief
from stages.train.kalman.model import Belief, LinearModel
from tests.bench.records import RESULTS, environment, record
from tests.stages.train.kalman.oracles import (
    observations,
    some_mask,
    some_model,
    textbook,
    textbook_extended,
)

BATCH, STATES = 8, 3
TARGET = 100
Filter = Callable[[LinearModel, Tensor], Tensor]


class Way(NamedTuple):
    """A filter, and the loop whose result it has: its name, or None for a loop itself."""

    name: str
    run: Filter
    loop: str | None = None


class Outcome(NamedTuple):
    """CPU seconds forward and in all, and the gradients of F, H, Q, R and the observations."""

    forward: float
    total: float
    gradients: list[Tensor]


def ways(steps: int) -> list[Way]:
    """The loops first, so that whoever is compared with one finds its gradients."""
    mask, everything = some_mask(BATCH, steps, share=0.9), torch.ones(BATCH, steps).bool()
    start = Belief(torch.zeros(STATES).double(), torch.eye(STATES).double())
    plain, masked, bent = "textbook loop", "textbook loop, masked", "textbook loop, extended"
    return [
        Way(plain, lambda m, o: textbook(m, o, *settled_belief(m))[0]),
        Way(masked, lambda m, o: textbook(m, o, *start, mask)[0]),
        Way(bent, lambda m, o: textbook_extended(m, o, *start, everything)[0]),
        Way("stationary gain, scan", lambda m, o: filtered(m, o).mean, plain),
        Way("10 % of frames missing", lambda m, o: filtered(m, o, mask, start).mean, masked),
        Way("extended", lambda m, o: extended(m, o, None, start).mean, bent),
    ]


def timed(way: Way, steps: int) -> Outcome:
    """One forward and backward pass on the same data every time."""
    leaves = [matrix.clone().requires_grad_() for matrix in some_model()]
    seen = (0.5 * observations(BATCH, steps, STATES)).requires_grad_()
    began = time.process_time()
    means = way.run(LinearModel(*leaves), seen)
    forward = time.process_time() - began
    loss = means.square().sum()
    f, h, q, r, o = torch.autograd.grad(loss, (*leaves, seen))
    total = time.process_time() - began
    return Outcome(forward, total, [f, h, q.diagonal(), r.diagonal(), o])


def difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Greatest difference of a gradient, relative to its greatest entry."""
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def measure(steps: int, turns: int) -> list[dict[str, Any]]:
    """A row per way: median milliseconds, its ratio to its loop and their gradients' difference."""
    every = ways(steps)
    outcomes: dict[str, list[Outcome]] = {way.name: [] for way in every}
    for turn in range(-1, turns):  # turn -1 warms up and is thrown away
        for way in every:
            outcome = timed(way, steps)
            if turn >= 0:
                outcomes[way.name].append(outcome)
    rows = []
    for way in every:
        own, loop = outcomes[way.name], outcomes[way.loop or way.name]
        ratios = [b.total / a.total for a, b in zip(own, loop, strict=True)]
        rows.append(
            {
                "way": way.name,
                "forward ms": round(1e3 * statistics.median(o.forward for o in own), 2),
                "forward and backward ms": round(1e3 * statistics.median(o.total for o in own), 2),
                "times faster than its loop": round(statistics.median(ratios), 1),
                "from turn to turn": [round(min(ratios), 1), round(max(ratios), 1)],
                "gradients differ by": difference(own[-1].gradients, loop[-1].gradients),
            }
        )
    return rows


def main() -> None:
    """Measure, print; with --record, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=7500, help="frames of a sequence")
    parser.add_argument("--turns", type=int, default=5, help="times that each way is measured")
    parser.add_argument("--record", action="store_true", help=f"keep under {RESULTS.name}/")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment("torch") | {"threads": torch.get_num_threads()},
        "what": f"batch {BATCH}, {chosen.steps} steps, {STATES} states, float64",
        "turns": chosen.turns,
    }
    print(json.dumps(document, indent=1))
    document["results"] = measure(chosen.steps, chosen.turns)
    print(f"{'':<28}{'forward':>10}{'+ backward':>12}{'times faster':>14}   gradients differ by")
    for row in document["results"]:
        times = f"{row['forward ms']:>10.1f}{row['forward and backward ms']:>12.1f}"
        ratio = f"{row['times faster than its loop']:>14.1f}"
        print(f"{row['way']:<28}{times}{ratio}   {row['gradients differ by']:.0e}")
    ratio = next(r for r in document["results"] if r["way"].startswith("stationary"))
    faster = ratio["times faster than its loop"]
    verdict = "met" if faster >= TARGET else "MISSED"
    print(f"target: at least {TARGET} times the loop: {verdict} ({faster})")
    if chosen.record:
        print(f"recorded: {record('kalman', document).name}")


if __name__ == "__main__":
    main()
