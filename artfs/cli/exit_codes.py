"""The exit code of every error: part of the interface, documented in docs/cli.md, the same in every command."""

from __future__ import annotations

from artfs import errors

OK = 0
FAILED = 1  # a bug, or an answer of "no": `artfs diff` found differences
INTERRUPTED = 130

EXIT_CODES: dict[str, int] = {
    "error": FAILED,
    "usage": 2,
    "invalid-name": 2,
    "invalid-value": 2,
    "unsupported-file": 2,
    "too-large": 2,
    "not-found": 3,
    "project-not-found": 3,
    "artifact-not-found": 3,
    "version-not-found": 3,
    "alias-not-found": 3,
    "path-not-found": 3,
    "draft-not-found": 3,
    "user-not-found": 3,
    "token-not-found": 3,
    "run-not-found": 3,
    "sweep-not-found": 3,
    "conflict": 4,
    "already-exists": 4,
    "not-empty": 4,
    "type-mismatch": 4,
    "still-aliased": 4,
    "draft-closed": 4,
    "busy": 4,
    "file-changed": 4,
    "path-conflict": 4,
    "lineage-cycle": 4,
    "reference-changed": 4,
    "directory-differs": 4,
    "access-denied": 5,
    "not-authenticated": 5,
    "reference-forbidden": 5,
    "damaged": 6,
    "damaged-object": 6,
    "damaged-pack": 6,
    "damaged-database": 6,
    "object-missing": 6,
    "newer-format": 6,
    "unavailable": 7,
    "storage-full": 7,
    "storage-failed": 7,
    "registry-unavailable": 7,
    "too-many-requests": 7,
    "reference-unavailable": 7,
    "machine-not-ready": 8,
}


def exit_code(error: errors.ArtfsError) -> int:
    return EXIT_CODES.get(error.code, FAILED)
