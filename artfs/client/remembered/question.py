"""The questions about a registry's catalog whose answers are remembered, as keys, and which of them a change concerns.

Pure. `project`, `artifact` and `name` are empty where a question has none.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from artfs.errors import AliasNotFound, ArtifactNotFound, NotFound, ProjectNotFound, VersionNotFound
from artfs.model.names import parse_version
from artfs.wire.records import ArtifactRecord, Change, ProjectRecord, VersionRecord


class Kind(StrEnum):
    PROJECTS = "projects"
    PROJECT = "project"
    ARTIFACTS = "artifacts"
    ARTIFACT = "artifact"
    VERSIONS = "versions"
    ALIASES = "aliases"
    VERSION = "version"


ANSWER_TYPES: dict[Kind, Any] = {
    Kind.PROJECTS: list[ProjectRecord],
    Kind.PROJECT: ProjectRecord,
    Kind.ARTIFACTS: list[ArtifactRecord],
    Kind.ARTIFACT: ArtifactRecord,
    Kind.VERSIONS: list[VersionRecord],
    Kind.ALIASES: dict[str, int],
    Kind.VERSION: VersionRecord,
}


class Question(NamedTuple):
    kind: Kind
    project: str = ""
    artifact: str = ""
    name: str = ""
    as_of: int | None = None

    @property
    def is_alias(self) -> bool:
        """Whether the answer depends on what an alias means now."""
        return self.kind is Kind.VERSION and self.as_of is None and parse_version(self.name) is None

    def __str__(self) -> str:
        place = "/".join(part for part in (self.project, self.artifact) if part)
        return f"{place}:{self.name}" if self.name else place or "the list of projects"


def concerns(change: Change, question: Question) -> bool:
    """Whether the answer to `question` may be another one after `change`."""
    if change.kind == "project":
        return question.kind is Kind.PROJECTS or question.project == change.project
    if question.project != change.project:
        return False
    return question.kind is Kind.ARTIFACTS or question.artifact == change.artifact


def absent(question: Question) -> NotFound:
    """What a registry raises for something that is not there."""
    if question.kind is Kind.PROJECT:
        return ProjectNotFound(f"there is no project {question.project!r}")
    if question.kind is Kind.ARTIFACT:
        return ArtifactNotFound(f"there is no artifact {question}")
    if question.kind is Kind.VERSION and parse_version(question.name) is None:
        return AliasNotFound(f"there is no alias {question}")
    return VersionNotFound(f"there is no {question}")


def size_of(answer: object) -> int:
    """How many records an answer holds, plus one: what it counts against a bound."""
    return 1 + (len(answer) if isinstance(answer, list | dict) else 0)
