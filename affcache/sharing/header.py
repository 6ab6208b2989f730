"""The header of a remote cache: the one document that everybody who pushes there shares.

It is written by who comes first and says only what all have in common, how the videos were
extracted; so whoever else writes it at the same time writes the same, or is found out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from affcache import notes
from affcache.arrays import METADATA, group_document, json_bytes, read_object
from affcache.errors import CacheError, RemoteError
from affcache.publish import check_same
from affcache.seals import Sealed, seal_bytes
from affcache.sharing.remote import Remote
from affcache.store import fingerprint, header_in


def remote_root(there: Remote) -> dict[str, Any] | None:
    """The root group's metadata, None if there is no cache.

    Raises
    ------
    CacheError
        If what is there is not a cache's root, or its fingerprint is not that of its fields.
    """
    if not there.has(METADATA):
        return None
    root = read_object(there, METADATA)
    header = header_of(root, there.path)
    try:
        hashed = fingerprint(header.get("fields", {}))
    except (ValueError, RecursionError):
        hashed = ""
    if hashed != header.get("fingerprint"):
        raise CacheError(f"{there.path}/{METADATA}: its fingerprint is not that of its fields")
    return root


def header_of(root: Mapping[str, Any], at: object) -> dict[str, Any]:
    """The cache's header in the root group's metadata."""
    attributes = root.get("attributes")
    return header_in(attributes if isinstance(attributes, dict) else {}, at)


def write_remote_root(
    there: Remote, root: Mapping[str, Any] | None, header: Mapping[str, Any]
) -> None:
    """Found a cache there, or make the root of one that is there fit to be added to.

    A copy of everybody's metadata would be out of date with the first video that comes, so it goes.

    Parameters
    ----------
    root : the root's metadata as it is there, None if there is none
    header : of the cache that is pushed
    """
    plain = group_document({"affcache": dict(header)})
    if root is not None:
        plain = {key: value for key, value in root.items() if key != "consolidated_metadata"}
    data = json_bytes(plain)
    seals = notes.survey(there)
    files = {METADATA: Sealed(len(data), hashlib.sha256(data).hexdigest())}
    mine = notes.digest(files)
    # First the seal, then what it seals: a root without a seal would look half written for ever.
    if seals.notes.get("") != (mine,):
        there.write(notes.note_name("", mine), seal_bytes(files))
        for other in set(seals.notes.get("", ())) - {mine}:
            there.remove(notes.note_name("", other))
    if root is None or "consolidated_metadata" in root:
        there.write(METADATA, data)


def check_still(there: Remote, header: Mapping[str, Any]) -> None:
    """Make sure that nobody else founded another cache at the same place and time.

    Raises
    ------
    CacheError
        If somebody did; it says how the two differ.
    RemoteError
        If the root is gone.
    """
    root = remote_root(there)
    if root is None:
        raise RemoteError(f"{there.path}: somebody removed {METADATA} while this was pushed")
    check_same(header_of(root, there.path), header, there.path)
    # Two who came first at once leave two seals of the root; the one that fits it stays.
    write_remote_root(there, root, header)
