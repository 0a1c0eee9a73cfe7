"""What is above versions: projects, types of artifacts, and artifacts as sequences of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artfs.api.artifact import Artifact
from artfs.api.artifact_facts import Sealed, iso_time
from artfs.api.listing import PAGE_ITEMS, Listing, pages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artfs.api.session import Session
    from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord


class Project:
    """A space of artifacts and runs.

    Attributes:
        name: what it is called.
        entity: the caller's name on the server, or on this machine if there is none.
        created_at: ISO 8601 in UTC.
        visibility: `private`, `public` or `open`.
    """

    def __init__(self, session: Session, record: ProjectRecord) -> None:
        self._session = session
        self.name = record.name
        self.entity = session.entity
        self.created_at = iso_time(record.created_at_ns)
        self.visibility = record.visibility.value

    def artifacts_types(self) -> Listing[ArtifactType]:
        """The types that its artifacts have, by name."""
        return artifact_types(self._session, self.name)

    def collections(self) -> Listing[ArtifactCollection]:
        """Its artifacts, by name."""
        return artifact_collections(self._session, self.name)

    def __repr__(self) -> str:
        return f"<Project {self.name}>"


class ArtifactType:
    """What artifacts of a project are, such as `dataset`.

    Attributes:
        project: the name of the project.
        name: the type.
    """

    def __init__(self, session: Session, project: str, name: str) -> None:
        self._session = session
        self.project = project
        self.name = name

    def collections(self) -> Listing[ArtifactCollection]:
        """The artifacts of this type, by name."""
        return artifact_collections(self._session, self.project, self.name)

    def __repr__(self) -> str:
        return f"<ArtifactType {self.name}>"


class ArtifactCollection:
    """An artifact with all its versions.

    Attributes:
        project: the name of the project.
        name: what it is called there.
        type: that of all its versions.
        description: of the artifact; versions have their own.
        created_at: ISO 8601 in UTC.
    """

    def __init__(self, session: Session, record: ArtifactRecord) -> None:
        self._session = session
        self.project = record.project
        self.name = record.name
        self.type = record.type
        self.description = record.description
        self.created_at = iso_time(record.created_at_ns)

    def versions(self) -> Listing[Artifact]:
        """Newest first."""
        return artifact_versions(self._session, self.project, self.name)

    def aliases(self) -> dict[str, str]:
        """Which version each alias means, by alias."""
        found = self._session.registry.aliases.list(self.project, self.name)
        return {alias: f"v{number}" for alias, number in found.items()}

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self.name}>"


def artifact_types(session: Session, project: str) -> Listing[ArtifactType]:
    def pages() -> Iterator[list[ArtifactType]]:
        names = {record.type for page in _artifacts(session, project) for record in page}
        yield [ArtifactType(session, project, name) for name in sorted(name for name in names if name is not None)]

    return Listing(pages())


def artifact_collections(session: Session, project: str, type: str | None = None) -> Listing[ArtifactCollection]:
    """Those of one type, or all."""
    return Listing(
        [ArtifactCollection(session, record) for record in page if type is None or record.type == type]
        for page in _artifacts(session, project)
    )


def artifact_versions(session: Session, project: str, artifact: str) -> Listing[Artifact]:
    """Newest first: all are asked for when the first is looked at, and later changes do not matter."""

    def ask(last: VersionRecord | None) -> list[VersionRecord]:
        after = -1 if last is None else last.number
        return session.registry.versions.list(project, artifact, after=after, limit=PAGE_ITEMS)

    def pages() -> Iterator[list[Artifact]]:
        records = [record for page in pages_of(ask, lambda record: record) for record in page]
        yield [Artifact._of(Sealed(session, record)) for record in reversed(records)]

    return Listing(pages())


def _artifacts(session: Session, project: str) -> Iterator[list[ArtifactRecord]]:
    def ask(last: ArtifactRecord | None) -> list[ArtifactRecord]:
        return session.registry.artifacts.list(project, after="" if last is None else last.name, limit=PAGE_ITEMS)

    return pages_of(ask, lambda record: record)
