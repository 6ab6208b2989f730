"""`affcache push` and `affcache pull`: share a cache through a folder, S3, Google Cloud or SFTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

CACHE = click.Path(path_type=Path)


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that both directions have."""
    for option in reversed(
        [
            click.option("--dry-run", is_flag=True, help="Only list what would move."),
            click.option(
                "--only",
                multiple=True,
                metavar="KEY=VALUES",
                help="Only some videos: video=p01*,p02* (for push also split=train, subject=p0*).",
            ),
            click.option(
                "--without",
                multiple=True,
                metavar="NAMES",
                help="Leave labels, pseudo or pseudo/NAME behind.",
            ),
            click.option(
                "--force", is_flag=True, help="Replace what has other content under the same name."
            ),
            click.option(
                "--jobs",
                type=click.IntRange(1, 64),
                help="Videos on their way at once; by default 2 on disks, 8 over a network.",
            ),
            click.option(
                "--option",
                "options",
                multiple=True,
                metavar="KEY=VALUE",
                help="For the driver, such as endpoint_url=http://localhost:9000 or profile=lab "
                "(S3), username=me (SFTP).",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        ]
    ):
        command = option(command)
    return command


@click.command()
@click.argument("cache", type=CACHE)
@click.argument("url")
@_shared
def push(cache: Path, url: str, **wanted: Any) -> None:
    """Send CACHE (a folder or a packed zip) to the folder at URL.

    Only what is not there yet moves; a video that is the same on both sides costs nothing. Every
    file is checked where it arrived before its video is shown. If it breaks off, run it again: what
    arrived whole stays. Several people can push different videos to one place at the same time.

    A place holds one kind of extraction; another is refused, and the differing settings are named.

    \b
    Examples:
      affcache push out/sewa.zarr /mnt/share/sewa.zarr
      affcache push out/sewa.zarr s3://lab-bucket/sewa.zarr --dry-run
      affcache push out/sewa.zarr gs://lab-bucket/sewa.zarr --without labels
      affcache push out/sewa.zarr sftp://me@server/data/sewa.zarr --only split=train

    S3, Google Cloud Storage and SFTP need a driver: pip install 'affcache[s3]', [gcs] or [sftp].
    Credentials are looked for where each driver always does (~/.aws, gcloud, ssh's keys and
    known_hosts).
    """
    from affcache.sharing.report import Wanted, push_cache

    push_cache(cache, url, Wanted(**wanted))


@click.command()
@click.argument("url")
@click.argument("cache", type=CACHE)
@_shared
def pull(url: str, cache: Path, **wanted: Any) -> None:
    """Fetch the cache at URL into the folder CACHE.

    URL is where somebody pushed to, or a folder with a sealed cache of any origin. Only what is not
    here yet moves. Every file is checked against the seal before its video is shown. If it breaks
    off, run it again: what arrived whole stays, and the cache is sound at any moment.

    \b
    Examples:
      affcache pull s3://lab-bucket/sewa.zarr out/sewa.zarr
      affcache pull /mnt/share/sewa.zarr out/sewa.zarr --only video=p01* --without pseudo
      affcache pull sftp://me@server/data/sewa.zarr out/sewa.zarr --json
    """
    from affcache.sharing.report import Wanted, pull_cache

    pull_cache(url, cache, Wanted(**wanted))
