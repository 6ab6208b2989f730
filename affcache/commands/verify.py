"""`affcache verify`: is this cache whole, unchanged and what the format says?"""

from pathlib import Path

import click


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Look at sizes and metadata, not at the data.")
@click.option("--repair", is_flag=True, help="Move what is broken out of the way, delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def verify(cache: Path, quick: bool, repair: bool, as_json: bool) -> int:
    """Check every file against the seal and every array against the format.

    Prints each fault with its video, array and kind; the exit status is 1 if there is any.

    \b
    Kinds: unsealed, seal, missing, unlisted, link, size, bytes, zip (against the seal);
    id, metadata, schema, rows, checksum, values, fingerprint (against the format).
    --quick does not see bytes that changed in place: bytes, checksum and values.

    With --repair, broken videos and annotations go to .affcache/quarantine/ inside the cache, and
    the next `affcache extract` or `affcache label` makes them again.

    \b
    Example:
      affcache verify out/sewa.zarr
    """
    from affcache import verify as verification
    from affcache.progress import say
    from affcache.table import show

    faults = verification.verify(cache, quick=quick)
    if faults or as_json:
        show(f"{cache}: {len(faults)} faults", [f.row() for f in faults], as_json=as_json)
    else:
        click.echo(f"{cache}: whole{', as far as sizes and metadata tell' if quick else ''}")
    if repair:
        for group in verification.repair(cache, faults):
            say(f"moved {group} to quarantine")
    return 1 if faults else 0
