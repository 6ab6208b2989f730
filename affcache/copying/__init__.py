"""Caches made of caches: a packed file, a part, several as one, and what such a copy holds."""
