"""`affcache derive`: pooled, reduced, standardised features as a cache of their own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--pca",
    type=float,
    help="Principal components: a share of the variance (0.99) or a number of them (84).",
)
@click.option(
    "--pool",
    type=click.Choice(["avgstd"]),
    help="Mean and standard deviation over a window; doubles the features. Needs --window.",
)
@click.option("--window", type=int, help="Frames to pool over.")
@click.option(
    "--align",
    type=click.Choice(["causal", "centred"]),
    default="causal",
    show_default=True,
    help="The window's frames: those up to the frame itself, or those around it.",
)
@click.option("--zscore", is_flag=True, help="Standardise to zero mean and unit variance.")
@click.option("--task", help="Whose training split is fitted on, where tasks differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def derive(
    cache: Path,
    out: Path,
    pca: float | None,
    pool: str | None,
    window: int | None,
    align: str,
    zscore: bool,
    task: str | None,
    as_json: bool,
) -> None:
    """Make OUT from CACHE: its features through a chain.

    Labels, pseudo-labels, times and boxes are carried over; further streams are not.
    The order is --pca, --pool, --zscore, as in paper 003 (section IV.B); for another order derive
    twice. What is fitted is fitted on the frames with a face of the training split alone, however
    large the cache is. OUT records its parent's fingerprint and the recipe.

    \b
    Paper 003's chains:
      LGBP-TOP:   affcache derive recola.zarr a.zarr --pca 0.99 --pool avgstd --window 150
      geometric:  affcache derive recola.zarr v.zarr --pool avgstd --window 200
      3DSF:       affcache derive semaine.zarr s.zarr --pool avgstd --window 7 --zscore
    """
    if (pool is None) != (window is None):
        raise click.UsageError("--pool and --window belong together")
    from affcache.derivation import show_derived

    show_derived(
        cache, out, pca=pca, window=window, align=align, zscore=zscore, task=task, as_json=as_json
    )
