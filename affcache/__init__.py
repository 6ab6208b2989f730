"""The cache in the middle: per-frame face features in Zarr, and what both stages need of them.

In a notebook (see `affcache.notebook` for everything that an open cache can do):

>>> import affcache
>>> for video in affcache.open(path).videos[:2]:
...     print(video.id, video.features[0:70].shape, video.labels["va"][0:70].shape)
v00 (70, 64) (70, 2)
v01 (70, 64) (70, 2)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affcache.notebook import open_cache

    open = open_cache

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`affcache.open` is imported when it is used, so that `import affcache` costs nothing."""
    if name == "open":
        from affcache.notebook import open_cache

        return open_cache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "open"])
