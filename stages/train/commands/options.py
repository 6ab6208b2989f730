"""Options that several commands of stage two share."""

from __future__ import annotations

import click

SPLIT = click.Choice(["test", "validation", "train"])
context_option = click.option(
    "--context",
    metavar="RULE:N",
    help="Which frames an Affective Process takes as context: lowest:40, largest:10 (by the "
    "uncertainty of their own latent), random:5 or all. Default: as its recipe says.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto (cuda, mps or cpu, the first there is), or a torch device such as cpu or cuda:1.",
)
changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value of the recipe, such as training.epochs=5; may be repeated.",
)
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
pseudo_option = click.option(
    "--pseudo", help="Whose pseudo-labels. Default: the backbone's own, if any."
)
fill_option = click.option(
    "--fill",
    multiple=True,
    metavar="NAME",
    help="Pseudo-labels for training frames without annotations; may be repeated, the first wins.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that prepare batches; they change the speed and nothing else.",
)
