"""What a head costs: its parameters and multiply-adds for one window, beside the paper's figures.

Paper 000, section 6, gives both for the Affective Process and three baselines. Multiply-adds are
measured, by watching `Head.predict` on a window of random numbers: all matrix products,
convolutions and attention, whatever the module they are in. Products with a single vector and what
is done element by element (biases, activations, norms, gates, scans) are not counted.

Convention: one multiply-add is one operation here, as in the tool that the paper names (thop),
which calls it a FLOP where others count two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from affcache.targets import FIXED, tasks_in
from stages.train.ap.settings import ApSettings
from stages.train.ap.terms import masked_mean
from stages.train.heads import Head, Sizes, Windows, head_class, head_names
from stages.train.heads.ap import AffectiveProcess
from stages.train.recipe import Recipe, load

UNITS = tuple(f"AU{unit}" for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))  # of DISFA


class Printed(NamedTuple):
    """What a paper says: parameters and operations for a number of frames."""

    parameters: int
    operations: int
    frames: int


class Layout(NamedTuple):
    """A row of the table: a head by its recipe, with changes, and what there is to say about it."""

    head: str
    layout: str = ""
    changes: tuple[str, ...] = ()
    features: int | None = None  # columns of a stream; None takes the command's
    paper: Printed | None = None
    note: str = ""


AP = Printed(330_000, 20_000_000, 70)
CONV_GRU = Printed(789_000, 758_000_000, 30)
BIGRU = Printed(1_200_000, 71_000_000, 60)
ATTENTION = Printed(4_200_000, 125_000_000, 30)
PUBLISHED: dict[str, list[Layout]] = {
    "ap": [
        Layout(
            "ap",
            paper=AP,
            note="All that a prediction computes: beside the network, every frame's own latent to "
            "choose the context by, and the standard deviation that the latent causes.",
        ),
    ],
    "conv-gru": [
        Layout(
            "conv-gru",
            paper=CONV_GRU,
            note="The text gives neither kernel nor directions nor the maps: 1 x 1 kernels in both "
            "directions are one of two layouts of 789,504 parameters (readout apart) over maps of "
            "2 x 2, as features are 128 x 2 x 2.",
        ),
        Layout(
            "conv-gru",
            "4 x 4 maps",
            ("model.side=4",),
            2048,
            CONV_GRU,
            "On the backbone's maps before pooling, 128 x 4 x 4, the paper's ~758 M is twice this "
            "number (biases included): there, both a multiplication and an addition are counted.",
        ),
    ],
    "bigru": [
        Layout(
            "bigru",
            paper=BIGRU,
            note="The text says 2 layers; both figures are of one, whose two directions it may "
            "mean.",
        ),
        Layout(
            "bigru",
            "2 layers",
            ("model.layers=2",),
            None,
            BIGRU,
            "The text to the letter: twice the paper's figures.",
        ),
    ],
    "attention": [
        Layout(
            "attention",
            paper=ATTENTION,
            note="The text gives no feed-forward network; 1,024 units fit both figures. 32 heads "
            "share 512 dimensions: with 512 each there would be 67 M parameters.",
        ),
        Layout(
            "attention",
            "2048 units",
            ("model.feedforward=2048",),
            None,
            ATTENTION,
            "torch's default. thop, which the paper counts with, does not see the projections in "
            "torch's attention and reports 4,203,520 and 126.1 M, which fits both figures as well.",
        ),
    ],
}


def complexity(features: int) -> list[dict[str, Any]]:
    """A row for every head there is, at its recipe's own window length.

    Parameters
    ----------
    features : columns of each stream that a head needs; streams that it can do without are left out

    Returns
    -------
    Rows of "head", "layout", "frames", "parameters", "multiply_adds", "paper_parameters",
    "paper_operations", "paper_frames" (None where no paper says) and "note".
    """
    rows = []
    for name in head_names():
        rows += [_row(layout, features) for layout in PUBLISHED.get(name, [Layout(name)])]
        if name == "ap":
            rows += _ap_networks(rows[-1], features)
    return rows


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of every product that a call computes on the CPU.

    With gradients on, because without them torch's encoder becomes one kernel that hides its
    products from the counter; oneDNN's recurrent layers hide them always, so their formula is here.
    """
    seen = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _recurrent_layer}
    )
    with torch.enable_grad(), seen:
        call()
    return int(seen.get_total_flops()) // 2


def _recurrent_layer(
    given: Sequence[int], inputs: Sequence[int], states: Sequence[int], *_: Any, **__: Any
) -> int:
    """Floating-point operations of one direction of a layer, from its tensors' shapes."""
    return 2 * math.prod(given[:2]) * (math.prod(inputs) + math.prod(states))


def ap_as_printed(features: int, targets: int, settings: ApSettings, frames: int) -> int:
    """Multiply-adds of paper 000, Fig. 2, layer by layer, with its concatenations.

    Labels are projected up to the features' width in every frame, and every frame's decoder reads z
    beside its features; the latent is computed once.
    """
    d = settings.width
    encoder = targets * features + 2 * features * d + 2 * d * d
    latent = 3 * d * d
    decoder = (features + d) * d + 2 * d * d + 2 * d * targets
    return frames * (encoder + decoder) + latent


def sizes_for(recipe: Recipe, features: int) -> Sizes:
    """Streams of equal width and the columns of a recipe's tasks; DISFA's 12 intensities."""
    tasks = {task: FIXED.get(task, UNITS) for task in tasks_in(recipe.task)}
    return Sizes(dict.fromkeys(head_class(recipe.head).STREAMS, features), tasks, 25.0)


def a_window(sizes: Sizes, frames: int) -> Windows:
    """One window of random numbers in which every frame counts."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.rand(2, 1, frames, sizes.count, generator=draw)
    features = torch.randn(1, frames, sizes.features, generator=draw)
    return Windows(features, labels[0], labels[1], torch.ones(1, frames, dtype=torch.bool))


def _row(layout: Layout, features: int) -> dict[str, Any]:
    recipe = load(head=layout.head, changes=layout.changes)
    head, windows = _made(recipe, layout.features or features)
    paper = layout.paper
    return {
        "head": layout.head,
        "layout": layout.layout,
        "features": windows.features.shape[-1],
        "frames": windows.features.shape[1],
        "parameters": sum(p.numel() for p in head.parameters()),
        "multiply_adds": multiply_adds(lambda: head.predict(windows)),
        "paper_parameters": paper and paper.parameters,
        "paper_operations": paper and paper.operations,
        "paper_frames": paper and paper.frames,
        "note": layout.note,
    }


def _made(recipe: Recipe, features: int) -> tuple[Head, Windows]:
    sizes = sizes_for(recipe, features)
    head = head_class(recipe.head)(sizes, recipe.model).eval()
    return head, a_window(sizes, recipe.windows.test_length or recipe.windows.longest)


def _ap_networks(predicting: dict[str, Any], features: int) -> list[dict[str, Any]]:
    """The Affective Process's network alone, as it is computed and as it is printed."""
    recipe = load(head="ap")
    head, (rows, labels, _, mask) = _made(recipe, features)
    assert isinstance(head, AffectiveProcess)

    def network() -> None:
        r = head.encode(rows, labels)
        head.decode(head.read(rows, r, mask), head.latent(masked_mean(r, mask)).mean)

    printed = ap_as_printed(features, labels.shape[-1], recipe.model, rows.shape[1])
    return [
        predicting
        | {
            "layout": "network",
            "multiply_adds": multiply_adds(network),
            "note": "Encoder, one latent and decoder as they are computed here: first layers are "
            "split, so that labels are not projected up and z enters once a window.",
        },
        predicting
        | {
            "layout": "as printed",
            "multiply_adds": printed,
            "note": "The same network as Fig. 2 prints it, with its concatenations, counted by "
            "formula: both figures of the paper. Parameters and results are those of the other.",
        },
    ]
