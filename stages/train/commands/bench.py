"""`affcache bench`: what heads cost; declarations, the work is imported on use."""

from __future__ import annotations

import click


@click.group()
def bench() -> None:
    """Measure what the heads cost.

    \b
    affcache bench complexity
    """


@bench.command()
@click.option(
    "--features",
    type=click.IntRange(4),
    default=512,
    show_default=True,
    help="Columns of each stream of features; 512 is paper 000's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def complexity(features: int, as_json: bool) -> None:
    """Print parameters and multiply-adds of every head, beside a paper's figures where it has any.

    A row is one window of the length that the head's own recipe tests with. Multiply-adds are
    measured: all products of matrices, convolutions and attention that a prediction computes. Where
    a paper's text does not determine a layer, or its text and its figures disagree, a note says
    what was chosen, and other readings have rows of their own.

    \b
      affcache bench complexity
      affcache bench complexity --json
    """
    from stages.train.sessions.complexity import show_complexity

    show_complexity(features, as_json=as_json)
