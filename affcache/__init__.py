"""The cache in the middle: per-frame face features in Zarr, and what both stages need of them."""

__version__ = "0.1.0"
