"""Which errno a program sees for each error of artfs. One row for every `code` in artfs.errors; a test holds the two together."""

from __future__ import annotations

import errno

from artfs.errors import ArtfsError

ERRNOS = {
    "error": errno.EIO,
    # what was asked for cannot be meant
    "usage": errno.EINVAL,
    "invalid-name": errno.EINVAL,
    "invalid-value": errno.EINVAL,
    "unsupported-file": errno.EINVAL,
    "too-large": errno.EFBIG,
    # absent
    "not-found": errno.ENOENT,
    "project-not-found": errno.ENOENT,
    "artifact-not-found": errno.ENOENT,
    "version-not-found": errno.ENOENT,
    "alias-not-found": errno.ENOENT,
    "path-not-found": errno.ENOENT,
    "draft-not-found": errno.ENOENT,
    "user-not-found": errno.ENOENT,
    "token-not-found": errno.ENOENT,
    "run-not-found": errno.ENOENT,
    "sweep-not-found": errno.ENOENT,
    # the state does not allow it
    "conflict": errno.EBUSY,
    "already-exists": errno.EEXIST,
    "not-empty": errno.ENOTEMPTY,
    "type-mismatch": errno.EINVAL,
    "still-aliased": errno.EBUSY,
    "draft-closed": errno.EBUSY,
    "busy": errno.EBUSY,
    "file-changed": errno.EBUSY,
    "path-conflict": errno.EEXIST,
    "lineage-cycle": errno.ELOOP,
    "reference-changed": errno.ESTALE,
    "directory-differs": errno.EIO,
    "access-denied": errno.EACCES,
    "not-authenticated": errno.EACCES,
    "reference-forbidden": errno.EACCES,
    # never wrong bytes: an error instead
    "damaged": errno.EIO,
    "damaged-object": errno.EIO,
    "damaged-pack": errno.EIO,
    "damaged-database": errno.EIO,
    "object-missing": errno.EIO,
    "newer-format": errno.EPROTONOSUPPORT,
    # not now
    "unavailable": errno.EIO,
    "storage-full": errno.ENOSPC,
    "storage-failed": errno.EIO,
    "registry-unavailable": errno.EHOSTUNREACH,
    "too-many-requests": errno.EAGAIN,
    "reference-unavailable": errno.EIO,
    "machine-not-ready": errno.EIO,
}

EXPECTED = frozenset(
    {"usage", "invalid-name", "invalid-value", "unsupported-file", "already-exists", "not-empty", "type-mismatch"}
    | {"still-aliased", "busy", "access-denied"}
    | {code for code in ERRNOS if code.endswith("not-found")}
)
"""Codes of what callers do wrong or ask in vain: no news for the log."""


def errno_of(error: BaseException) -> int:
    """The errno for whatever a handler raised: EIO unless the error says better."""
    if isinstance(error, ArtfsError):
        return ERRNOS.get(error.code, errno.EIO)
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return errno.EIO
