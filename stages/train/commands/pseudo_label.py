"""`affcache pseudo-label`: declarations; the work is imported on use."""

from __future__ import annotations

from pathlib import Path

import click

from stages.train.commands.options import device_option


@click.command("pseudo-label", short_help="Label frames by a run, or by rules, where it is sure.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="The cache.")
@click.option("--from", "run", type=click.Path(path_type=Path), help="The run that is the teacher.")
@click.option("--rules", is_flag=True, help="Expressions from annotated units, instead of --from.")
@click.option(
    "--threshold",
    type=click.FloatRange(0.5, 1.0),
    default=0.8,
    show_default=True,
    help="Least confidence of the teacher.",
)
@click.option(
    "--min-support",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Fewest training frames of a rule's pattern of units.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0.0, 1.0),
    default=0.8,
    show_default=True,
    help="Least share of a pattern's frames that have the rule's expression.",
)
@click.option("--name", help="Stored as pseudo/<name>/. Default: teacher, or rules.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def pseudo_label(
    cache: Path,
    run: Path | None,
    rules: bool,
    threshold: float,
    min_support: int,
    min_confidence: float,
    name: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Label frames that nobody annotated, beside the annotations and never over them.

    With --from, by a trained run where it is sure: an expression from the threshold on, a unit from
    the threshold on or below 1 minus it, valence and arousal where the run's own standard deviation
    says that they are probably within 0.25, or, from a run without one, where the expression is
    sure. With --rules, expressions from annotated units, by patterns that mostly mean one
    expression in the training split.

    The table says how many frames there are, how many of them nobody annotated, and how well the
    rest agrees with the annotations (accuracy; CCC of va), on the training split and elsewhere.

    \b
    Examples:
      affcache pseudo-label --from runs/wild-streaming-s0 --cache out/wild.zarr --name teacher
      affcache pseudo-label --rules --cache out/wild.zarr --min-support 50
      affcache train --head streaming --cache out/wild.zarr --fill rules --fill teacher
    """
    if (run is None) == (not rules):
        raise click.UsageError("say either --from RUN or --rules")
    from stages.train.sessions.pseudo_label import run_command

    run_command(cache, run, threshold, min_support, min_confidence, name, device, as_json)
