"""Push and pull: a cache and a folder behind a URL, and everything that can go wrong between."""
