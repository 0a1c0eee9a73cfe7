"""What there is to know of a run, whether it goes on in this process or was read from the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artfs.api.artifact import Artifact
from artfs.api.artifact_facts import Sealed, iso_time
from artfs.api.listing import Listing
from artfs.api.run_description import RunDescription
from artfs.errors import VersionNotFound
from artfs.model.names import version_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artfs.api.session import Session
    from artfs.model.lineage import VersionRef
    from artfs.wire.runs import RunRecord


class RunFacts(RunDescription):
    """The facts, as of when they were asked for. Times are ISO 8601 in UTC."""

    def __init__(self, session: Session, record: RunRecord) -> None:
        super().__init__(record)
        self._session = session

    @property
    def id(self) -> str:
        """What names it in its project."""
        return self._record.id

    @property
    def name(self) -> str:
        """What it is called; its id, unless it was given a name."""
        return self._record.name

    @property
    def entity(self) -> str:
        """The caller's name on the server, or on this machine if there is none."""
        return self._session.entity

    @property
    def project(self) -> str:
        """The name of its project."""
        return self._record.project

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def group(self) -> str:
        """What it belongs to with others; empty for nothing."""
        return self._record.group

    @property
    def job_type(self) -> str:
        """What it is for, such as `train`; empty if nobody said."""
        return self._record.job_type

    @property
    def sweep_id(self) -> str:
        """Its sweep's; empty for none."""
        return self._record.sweep

    @property
    def created_at(self) -> str:
        """When it was started, ISO 8601 in UTC."""
        return iso_time(self._record.created_at_ns)

    @property
    def created_by(self) -> str:
        """`user@host`."""
        return self._record.created_by

    def logged_artifacts(self) -> Listing[Artifact]:
        """The versions it logged, in that order."""
        edges = self._session.registry.lineage.of_run(self.project, self.id)
        return Listing(_artifacts(self._session, edges.logged))

    def used_artifacts(self) -> Listing[Artifact]:
        """The versions it used, in that order."""
        edges = self._session.registry.lineage.of_run(self.project, self.id)
        return Listing(_artifacts(self._session, edges.used))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.project}/{self.id}>"


def _artifacts(session: Session, versions: Sequence[VersionRef]) -> Iterator[list[Artifact]]:
    """One a page: each is asked for by itself. One that was deleted meanwhile is not there."""
    for ref in versions:
        try:
            version = session.registry.versions.resolve(ref.project, ref.artifact, version_name(ref.number))
        except VersionNotFound:
            continue
        yield [Artifact._of(Sealed(session, version))]
