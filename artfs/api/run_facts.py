"""What there is to know of a run, whether it goes on in this process or was read from the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artfs.api.artifact import Artifact
from artfs.api.artifact_facts import Sealed
from artfs.api.in_project import InProject
from artfs.api.listing import Listing
from artfs.api.plain import plain_tags
from artfs.errors import VersionNotFound
from artfs.model.names import version_name
from artfs.wire.runs import RunChange, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artfs.api.session import Session
    from artfs.model.lineage import VersionRef


class RunFacts(InProject[RunRecord], ABC):
    """The facts, as of when they were asked for. Times are ISO 8601 in UTC."""

    @abstractmethod
    def _change(self, change: RunChange) -> None:
        """Keep what was set."""

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
    def notes(self) -> str:
        """What it is about, in words. What is set is kept."""
        return self._record.notes

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._change(RunChange(notes=notes or ""))

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by. What is set is kept."""
        return tuple(self._record.tags)

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._change(RunChange(tags=plain_tags(tags)))

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


def _artifacts(session: Session, versions: Sequence[VersionRef]) -> Iterator[list[Artifact]]:
    """One a page: each is asked for by itself. One that was deleted meanwhile is not there."""
    for ref in versions:
        try:
            version = session.registry.versions.resolve(ref.project, ref.artifact, version_name(ref.number))
        except VersionNotFound:
            continue
        yield [Artifact._of(Sealed(session, version))]
