"""Which questions the catalog is made of, and which of them may be answered by others' answers.

The same code asks, behind the door, and answers on the event loop from what is remembered: `Recall` decides.
"""

from __future__ import annotations

from artfs.errors import InvalidValue
from artfs.wandb_client.catalog import AskedCatalog
from artfs.wandb_client.memory import Part, Recall
from artfs.wandb_client.records import VersionRecords
from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord


class RememberedCatalog:
    """A `vfs.ports.Catalog`. Raises what the server tells, and what `recall` raises."""

    def __init__(self, asked: AskedCatalog, recall: Recall) -> None:
        self._asked = asked
        self._recall = recall

    def projects(self) -> list[ProjectRecord]:
        return list(self._recall(("projects",), self._asked.projects).values())

    def project(self, project: str) -> ProjectRecord:
        def listed(found: dict[str, ProjectRecord]) -> ProjectRecord | None:
            return found.get(project)

        return self._recall(("project", project), lambda: self._asked.project(project), Part(("projects",), listed))

    def artifacts(self, project: str) -> list[ArtifactRecord]:
        return list(self._recall(("artifacts", project), lambda: self._asked.artifacts(project)).values())

    def artifact(self, project: str, artifact: str) -> ArtifactRecord:
        def listed(found: dict[str, ArtifactRecord]) -> ArtifactRecord | None:
            return found.get(artifact)

        question = ("artifact", project, artifact)
        return self._recall(
            question, lambda: self._asked.artifact(project, artifact), Part(("artifacts", project), listed)
        )

    def versions(self, project: str, artifact: str) -> list[VersionRecord]:
        return list(self._listed(project, artifact).records.values())

    def version(self, project: str, artifact: str, selector: str, as_of: int | None) -> VersionRecord:
        _check_now(as_of)

        def listed(found: VersionRecords) -> VersionRecord | None:
            return found.find(selector)

        question = ("version", project, artifact, selector)
        return self._recall(
            question,
            lambda: self._asked.version(project, artifact, selector),
            Part(("versions", project, artifact), listed),
        )

    def aliases(self, project: str, artifact: str, as_of: int | None) -> dict[str, int]:
        _check_now(as_of)
        return dict(self._listed(project, artifact).aliases)

    def _listed(self, project: str, artifact: str) -> VersionRecords:
        question = ("versions", project, artifact)
        return self._recall(question, lambda: self._asked.versions(project, artifact))


def _check_now(as_of: int | None) -> None:
    if as_of is not None:
        raise InvalidValue("a W&B server does not tell what aliases meant earlier", hint="leave --pin out")
