"""Which driver speaks which kind of URL, and what has to be known of it to move files well.

One row a kind. fsspec finds the driver; the row says what fsspec does not: the extra that installs
it, the options without which it is unsafe or slow, how it fails, and whether its files appear whole
or not at all.
"""

from __future__ import annotations

import base64
import errno
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affcache.errors import RemoteError

SINGLE_REQUEST = 16 << 20  # what an object store takes at once and gives an MD5 for
_HOPELESS = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
_HOPELESS_NUMBERS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.EFBIG,
    errno.ELOOP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """How one kind of place is spoken to.

    Attributes
    ----------
    module : what must be installed beside fsspec, "" if nothing
    extra : the extra of this package that installs it
    options : for the filesystem; what the user says comes on top
    opening : for every file that is opened
    jobs : groups that move at the same time; on a disk, more only stand in each other's way
    block_bytes : how much is read at once; on a disk, what a processor's cache holds
    objects : whether a file appears whole or not at all, and folders are only names
    passing : "module:class" of errors that may pass by themselves, beside OSError
    lasting : "module:class" of errors among those that will not
    """

    module: str = ""
    extra: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    opening: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 8
    block_bytes: int = 4 << 20
    objects: bool = False
    passing: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()

    def may_pass(self, error: Exception) -> bool:
        """Whether it makes sense to try the same again."""
        if isinstance(error, _HOPELESS) or getattr(error, "errno", None) in _HOPELESS_NUMBERS:
            return False
        return not isinstance(error, _classes(self.lasting))

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Every error with which this driver fails."""
        return (OSError, EOFError, *_classes((*self.passing, *self.lasting)))


_OPTION = "builtins:TypeError"  # an option that nobody knows, noticed only when it connects
_FRESH = {"use_listings_cache": False}
_BLOCKS = {"block_size": SINGLE_REQUEST}
_S3 = Driver(
    module="s3fs",
    extra="s3",
    passing=(
        "botocore.exceptions:BotoCoreError",
        "botocore.exceptions:ClientError",
        "aiohttp:ClientError",
    ),
    lasting=(
        "botocore.exceptions:NoCredentialsError",
        "botocore.exceptions:PartialCredentialsError",
        "botocore.exceptions:ParamValidationError",
        _OPTION,
    ),
    objects=True,
    options=_FRESH,
    opening=_BLOCKS,
)
_GCS = Driver(
    module="gcsfs",
    extra="gcs",
    passing=(
        "aiohttp:ClientError",
        "google.auth.exceptions:TransportError",
        "gcsfs.retry:HttpError",
    ),
    lasting=("google.auth.exceptions:DefaultCredentialsError", _OPTION),
    objects=True,
    options=_FRESH,
    opening=_BLOCKS,
)
_SFTP = Driver(
    module="sshfs",
    extra="sftp",
    # Left alone, this driver trusts any host key, and waits for ever for a host that is gone.
    options={"known_hosts": (), "keepalive_interval": 15, "login_timeout": 30},
    # ValueError: its pool has no other word for "the connection is gone".
    passing=("asyncssh:Error", "asyncssh:SFTPError", "builtins:ValueError"),
    lasting=(
        "asyncssh:PermissionDenied",
        "asyncssh:HostKeyNotVerifiable",
        "asyncssh:KeyExchangeFailed",
        "asyncssh:SFTPPermissionDenied",
        "asyncssh:SFTPNoSuchFile",
        "asyncssh:SFTPNoSpaceOnFilesystem",
        "asyncssh:SFTPQuotaExceeded",
    ),
)

_DISK = Driver(jobs=2, block_bytes=256 << 10)

DRIVERS: dict[str, Driver] = {
    "file": _DISK,
    "local": _DISK,
    "memory": Driver(objects=True),
    "s3": _S3,
    "s3a": _S3,
    "gs": _GCS,
    "gcs": _GCS,
    "sftp": _SFTP,
    "ssh": _SFTP,
}


def driver(protocol: str) -> Driver:
    """The row of a kind of URL; other kinds that fsspec knows are taken for plain folders.

    Raises
    ------
    RemoteError
        If its driver is not installed.
    """
    row = DRIVERS.get(protocol, Driver())
    if row.module and importlib.util.find_spec(row.module) is None:
        raise RemoteError(
            f"{protocol}:// needs a driver that is not installed: "
            f"pip install 'affcache[{row.extra}]'"
        )
    return row


def stored_md5(info: Mapping[str, Any]) -> str | None:
    """The MD5 that an object store computed of what it holds, as hex; None where it has none.

    S3 gives it as the ETag of what came in one request, Google's store as `md5Hash`. An ETag that
    looks like one and is not (encrypted objects) only means that the bytes have to be read back.
    """
    etag = str(info.get("ETag", "")).strip('"')
    if len(etag) == 32 and set(etag) <= set("0123456789abcdef"):
        return etag
    try:
        return base64.b64decode(str(info["md5Hash"]), validate=True).hex() or None
    except (KeyError, ValueError):
        return None


def _classes(names: tuple[str, ...]) -> tuple[type[Exception], ...]:
    """Classes by their names; a driver of another version may not have all of them."""
    found = []
    for name in names:
        module, attribute = name.split(":")
        if importlib.util.find_spec(module.split(".")[0]) is not None:
            found.append(getattr(importlib.import_module(module), attribute, OSError))
    return tuple(found)
