"""`affcache export` and `affcache import`: caches to HDF5 and back, and features of others."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("cache", type=PATH)
@click.argument("target", type=PATH, metavar="FILE.h5")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def export(cache: Path, target: Path, as_json: bool) -> None:
    """Write CACHE (a folder or a packed zip) as one HDF5 file.

    The file has the cache's groups and arrays under the same names, with dimension labels and
    attributes, `time` as the scale of every frame dimension, and chunks that suit reading windows
    of a sequence. `affcache import` gives the same cache back. The file appears when it is whole.

    \b
    Example:
      affcache export out/sewa.zarr sewa.h5
    """
    from affcache.exchange import export_cache

    export_cache(cache, target, as_json=as_json)


@click.command(name="import")
@click.argument("source", type=PATH, required=False, metavar="[FILE.h5]")
@click.option("--out", type=PATH, required=True, help="The cache's folder, made if absent.")
@click.option("--features", type=PATH, help="The folder of features that others extracted.")
@click.option("--labels", type=PATH, help="The folder of labels, if it is another one.")
@click.option("--spec", type=PATH, help="The TOML file that says which columns are what.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def import_(
    source: Path | None,
    out: Path,
    features: Path | None,
    labels: Path | None,
    spec: Path | None,
    as_json: bool,
) -> None:
    """Make a cache of FILE.h5 that `affcache export` wrote, or of features of others.

    Features of others need no video: HDF5, NPZ, NPY, CSV (OpenFace) and ARFF (AVEC) of any width
    and rate. A small TOML file says which columns are features, time, validity and labels; labels
    at another rate are brought to the features' frames by a rule that the cache records.
    `python -m pydoc affcache.foreign` prints the TOML's keys, affcache/foreign/examples holds
    three to start from. What is already imported is kept, so a broken import can be run again.

    \b
    Examples:
      affcache import sewa.h5 --out out/sewa.zarr
      affcache import --features openface/ --spec openface.toml --out out/mine.zarr
      affcache import --features avec/features --labels avec/gold --spec avec.toml --out out/a.zarr
    """
    from affcache.exchange import import_features, import_hdf5

    if source is not None and features is None and spec is None and labels is None:
        import_hdf5(source, out, as_json=as_json)
    elif source is None and features is not None and spec is not None:
        import_features(features, labels, spec, out, as_json=as_json)
    else:
        raise click.UsageError(
            "give either FILE.h5, or --features with --spec (and --labels where they lie elsewhere)"
        )
