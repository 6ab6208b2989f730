"""What a user can get wrong, as one family of exceptions.

Each message says what was found, where, what was expected and what to do next; the command line
prints it as one line on stderr with exit status 2.
"""


class AffcacheError(Exception):
    """Base of every error that a user's input, files or environment can cause."""


class AssetError(AffcacheError):
    """Weights or clips that cannot be fetched, or are not what their hash says."""


class ManifestError(AffcacheError):
    """A dataset's description, or the files that it describes, are not usable."""


class LabelError(AffcacheError):
    """An annotation file breaks its format; the message names file and line."""


class CacheError(AffcacheError):
    """A cache that is missing, damaged, incompatible or does not hold what was asked for."""


class StorageError(CacheError):
    """The disk refuses what is written: it is full, read-only or has a limit."""


class RemoteError(AffcacheError):
    """A folder behind a URL that cannot be reached, or refuses or garbles what is moved."""


class VideoError(AffcacheError):
    """A video that cannot be decoded or does not fit what is known about it."""


class RecipeError(AffcacheError):
    """An unknown head, recipe, key or a value out of its range."""


class RunError(AffcacheError):
    """A run folder that is missing, damaged or belongs to another configuration."""


class SimulationError(AffcacheError):
    """A simulation that cannot be made as asked, or would mix with another one."""


class ForeignError(AffcacheError):
    """Features or labels of others that cannot be read, or are not what the spec says they are."""
