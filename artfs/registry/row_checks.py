"""Checks beside the rows that say what a version and an alias are: a bit that flips in one is an error, never another version.

SQLite has no checksums of pages, and what a version's name means is not in any digest; everything below its root is. A check is
the first half of a SHA-256 over the row's meaning, with names and digests rather than the ids of rows, so that it also notices a
row that was reached through a damaged one. Rows of earlier versions of artfs have none until they are changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from artfs.errors import DamagedDatabase
from artfs.registry.database import Row

CHECK_BYTES = 16

_encoder = msgspec.msgpack.Encoder()


def version_check(
    project_uid: bytes,
    artifact: str,
    number: int,
    root: bytes,
    description: str,
    metadata: str,
    created_at_ns: int,
    created_by: str,
    expires_at_ns: int | None,
) -> bytes:
    """Of a version. `metadata` is as it is stored, `root` the digest of its tree."""
    told = (bytes(project_uid), artifact, number, bytes(root), description, metadata)
    return _check("version", *told, created_at_ns, created_by, expires_at_ns)


def alias_check(artifact_id: int, alias: str, number: int, since: int = 0) -> bytes:
    """Of what an alias means now, or meant since a change; the artifact's row names it."""
    return _check("alias", artifact_id, alias, number, since)


def is_right(check: bytes | None, expected: bytes) -> bool:
    """Whether a row's check is the one that its meaning has, or there is none."""
    return check is None or bytes(check) == expected


def checked_aliases(artifact_id: int, rows: Sequence[Row]) -> dict[str, int]:
    """Version numbers by alias, of rows of alias, number, change (0 for now) and check. Raises DamagedDatabase."""
    for alias, number, since, check in rows:
        if not is_right(check, alias_check(artifact_id, alias, number, since)):
            raise DamagedDatabase(f"the row of the alias {alias!r} is damaged", hint="run artfs fsck --repair")
    return {alias: number for alias, number, _, _ in rows}


def _check(*values: object) -> bytes:
    return sha256(_encoder.encode(values)).digest()[:CHECK_BYTES]
