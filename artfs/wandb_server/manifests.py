"""Manifests: the union of what several writers contributed, and that of a version."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from artfs.errors import PathConflict
from artfs.model.lineage import VersionRef
from artfs.wandb_server.contents import File
from artfs.wandb_server.ids import artifact_id
from artfs.wire.records import VersionRecord
from artfs.wire.wandb_manifests import LAYOUT_2, POLICY, ManifestEntry


def merge(parts: Iterable[Mapping[str, ManifestEntry]]) -> dict[str, ManifestEntry]:
    """The union of what several writers contributed. Raises PathConflict where they differ."""
    found: dict[str, ManifestEntry] = {}
    for part in parts:
        for path, entry in part.items():
            there = found.setdefault(path, entry)
            if (there.digest, there.ref) != (entry.digest, entry.ref):
                raise PathConflict(
                    f"two writers contributed different contents for {path!r}", hint="write to different paths"
                )
    return found


class Births:
    """With which version of an artifact a file came, which clients are told of each, so that it is the same in all versions.

    Args:
        versions: all that there are, oldest first.
    """

    def __init__(self, versions: Sequence[VersionRecord]) -> None:
        self._versions = versions
        self._times_ns = [version.created_at_ns for version in versions]

    def id(self, entered_at_ns: int) -> str:
        """Of the first version that is not older than that."""
        first = self._versions[min(bisect_left(self._times_ns, entered_at_ns), len(self._versions) - 1)]
        return artifact_id(VersionRef(first.project, first.artifact, first.number))


def encode_manifest(files: Iterable[File], births: Births) -> bytes:
    """The manifest of a version."""
    return msgspec.json.encode(
        {
            "version": 1,
            "storagePolicy": POLICY,
            "storagePolicyConfig": {"storageLayout": LAYOUT_2},
            "contents": {file.path: _entry(file, births) for file in files},
        }
    )


def _entry(file: File, births: Births) -> dict[str, Any]:
    told: dict[str, Any] = {"digest": file.digest, "size": file.entry.size_bytes, "skip_cache": False}
    if file.ref:
        told["ref"] = file.ref
    else:
        told["birthArtifactID"] = births.id(file.entered_at_ns)
    return told | ({"extra": file.extra} if file.extra else {})
