"""References as commands take them, and what they must name for each use."""

from __future__ import annotations

from dataclasses import dataclass

from artfs.errors import InvalidName
from artfs.model.names import LATEST, ArtifactRef
from artfs.wire.records import VersionRecord
from artfs.wire.service import Registry


@dataclass(frozen=True, slots=True)
class ArtifactName:
    project: str
    artifact: str

    def __str__(self) -> str:
        return f"{self.project}/{self.artifact}"


def artifact_name(text: str) -> ArtifactName:
    """`project/artifact`, nothing more. Raises InvalidName."""
    ref = ArtifactRef.parse(text)
    if ref.artifact is None or ref.selector is not None:
        raise InvalidName(f"{text!r} does not name an artifact", hint="write project/artifact")
    return ArtifactName(ref.project, ref.artifact)


def resolve_version(registry: Registry, text: str) -> tuple[VersionRecord, tuple[str, ...]]:
    """The version that `project/artifact[:alias][/path]` means (`latest` if it does not say), and the path in it."""
    ref = ArtifactRef.parse(text)
    if ref.artifact is None:
        raise InvalidName(f"{text!r} does not name a version", hint="write project/artifact:alias")
    return registry.versions.resolve(ref.project, ref.artifact, ref.selector or LATEST), ref.path
