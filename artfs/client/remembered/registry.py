"""A registry that remembers what it was told: a wrapper for registries that may be slow, far or dead.

Questions about the catalog go through `RememberedCatalog`; whatever this process changes is forgotten at once, also when the
change failed, since nobody knows what became of it. Everything else is passed on, and only noticed: whether the registry answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artfs.client.far_pages import FarPage, FarPages
from artfs.client.remembered.answer_file import AnswerFile
from artfs.client.remembered.answers import RECORDS_MAX, Answers
from artfs.client.remembered.catalog import KnownCatalog, RememberedCatalog
from artfs.client.remembered.feed import FollowedChanges
from artfs.client.remembered.parts import RegistryParts
from artfs.client.remembered.question import Kind, Question
from artfs.client.remembered.reachability import Reachability
from artfs.client.remembered.refresh import Refresh
from artfs.client.remembered.runs import NoticedLineage, NoticedRuns, NoticedSharedDrafts, NoticedSweeps
from artfs.errors import RegistryUnavailable
from artfs.model.access import Visibility
from artfs.model.digest import Digest, ObjectKey
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.records import (
    ArtifactRecord,
    Change,
    DeletionPlan,
    DraftRecord,
    Location,
    ProjectRecord,
    SealRequest,
    SealResult,
    VersionChange,
    VersionRecord,
)
from artfs.wire.service import Access, Registry


class RememberingRegistry:
    """A `Registry` over `inner`, which is closed with it.

    Args:
        file: what is remembered across processes.
    """

    def __init__(
        self,
        inner: Registry,
        file: AnswerFile,
        *,
        records_max: int = RECORDS_MAX,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inner = inner
        self.file = file
        self._answers = Answers(records_max)
        self._reachability = Reachability(clock_ns, monotonic_s)
        self.changes = FollowedChanges(
            lambda: inner.changes, self._answers, self._reachability, monotonic_s, self._begin_refresh
        )
        self._catalog = RememberedCatalog(
            self._answers, file, self.changes, self._reachability, clock_ns=clock_ns, monotonic_s=monotonic_s
        )
        parts = RegistryParts(inner, self._catalog, self._reachability)
        self.projects = RememberedProjects(parts)
        self.artifacts = RememberedArtifacts(parts)
        self.versions = RememberedVersions(parts)
        self.aliases = RememberedAliases(parts)
        self.refresh = Refresh(self.projects, self.artifacts, self.versions)
        self.drafts = NoticedDrafts(parts)
        self.shared_drafts = NoticedSharedDrafts(parts)
        self.runs = NoticedRuns(parts)
        self.sweeps = NoticedSweeps(parts)
        self.lineage = NoticedLineage(parts)
        self.objects = NoticedObjects(parts)
        self._parts = parts
        self.known = KnownCatalog(self._catalog)
        self._identity = ""

    @property
    def identity(self) -> str:
        """The registry's, or the one it had when it was last reached."""
        if not self._identity:
            try:
                with self._reachability.noticing():
                    self._identity = self.inner.identity
                self.file.settle_identity(self._identity)
            except RegistryUnavailable:
                self._identity = self.file.identity
                if not self._identity:
                    raise
        return self._identity

    @property
    def spool(self) -> Path:
        return self.inner.spool

    @property
    def access(self) -> Access:
        return self.inner.access

    def load(self) -> None:
        """Read what earlier processes remembered now, rather than when the registry is out of reach."""
        self._catalog.load()

    def noticed_pages(self, pages: FarPages) -> FarPages:
        """`pages`, of the same registry: whether it answers is noticed."""
        return NoticedPages(self._parts, pages)

    def _begin_refresh(self) -> None:
        self.refresh.begin(self._catalog.loaded)
        self._catalog.loaded = []

    def status(self) -> dict[str, Any]:
        """For `artfs status`; JSON-encodable."""
        return {
            **self._reachability.status(),
            "is_followed": self.changes.is_live,
            "remembered": len(self._answers),
            "answered_from_memory": self._catalog.remembered_count,
        }

    def close(self) -> None:
        self.file.close()
        self.inner.close()


class RememberedProjects:
    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.projects

    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        if after or limit is not None:
            with self._parts.noticing():
                return self._inner.list(after=after, limit=limit)
        return [*self._parts.ask(Question(Kind.PROJECTS), self._inner.list)]

    def get(self, project: str) -> ProjectRecord:
        return self._parts.ask(Question(Kind.PROJECT, project), lambda: self._inner.get(project))

    def create(
        self, project: str, *, exist_ok: bool = False, visibility: Visibility = Visibility.PRIVATE
    ) -> ProjectRecord:
        with self._parts.changing("project", project):
            return self._inner.create(project, exist_ok=exist_ok, visibility=visibility)

    def update(self, project: str, *, visibility: Visibility) -> ProjectRecord:
        with self._parts.changing("project", project):
            return self._inner.update(project, visibility=visibility)

    def delete(self, project: str) -> None:
        with self._parts.changing("project", project):
            self._inner.delete(project)


class RememberedArtifacts:
    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.artifacts

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        if after or limit is not None:
            with self._parts.noticing():
                return self._inner.list(project, after=after, limit=limit)
        return [*self._parts.ask(Question(Kind.ARTIFACTS, project), lambda: self._inner.list(project))]

    def get(self, project: str, artifact: str) -> ArtifactRecord:
        question = Question(Kind.ARTIFACT, project, artifact)
        return self._parts.ask(question, lambda: self._inner.get(project, artifact))

    def create(self, project: str, artifact: str, *, type: str | None = None, exist_ok: bool = False) -> ArtifactRecord:
        with self._parts.changing("artifact", project, artifact):
            return self._inner.create(project, artifact, type=type, exist_ok=exist_ok)

    def update(
        self, project: str, artifact: str, *, type: str | None = None, description: str | None = None
    ) -> ArtifactRecord:
        with self._parts.changing("artifact", project, artifact):
            return self._inner.update(project, artifact, type=type, description=description)

    def delete(self, project: str, artifact: str) -> None:
        with self._parts.changing("artifact", project, artifact):
            self._inner.delete(project, artifact)


class RememberedVersions:
    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.versions

    def list(self, project: str, artifact: str, *, after: int = -1, limit: int | None = None) -> list[VersionRecord]:
        if after >= 0 or limit is not None:
            with self._parts.noticing():
                return self._inner.list(project, artifact, after=after, limit=limit)
        question = Question(Kind.VERSIONS, project, artifact)
        return [*self._parts.ask(question, lambda: self._inner.list(project, artifact))]

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        question = Question(Kind.VERSION, project, artifact, selector, as_of)
        return self._parts.ask(question, lambda: self._inner.resolve(project, artifact, selector, as_of=as_of))

    def update(self, project: str, artifact: str, number: int, change: VersionChange) -> VersionRecord:
        with self._parts.changing("version", project, artifact):
            return self._inner.update(project, artifact, number, change)

    def plan_delete(self, project: str, artifact: str, numbers: Sequence[int]) -> DeletionPlan:
        with self._parts.noticing():
            return self._inner.plan_delete(project, artifact, numbers)

    def delete(
        self, project: str, artifact: str, numbers: Sequence[int], *, delete_aliases: bool = False
    ) -> DeletionPlan:
        with self._parts.changing("version", project, artifact):
            return self._inner.delete(project, artifact, numbers, delete_aliases=delete_aliases)

    def plan_removal(self, project: str, removal: Removal) -> RemovalPlan:
        with self._parts.noticing():
            return self._inner.plan_removal(project, removal)

    def remove(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        with self._parts.changing("project", project):
            return self._inner.remove(project, removal, clean=clean)


class RememberedAliases:
    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.aliases

    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        question = Question(Kind.ALIASES, project, artifact, "", as_of)
        return {**self._parts.ask(question, lambda: self._inner.list(project, artifact, as_of=as_of))}

    def move(self, project: str, artifact: str, alias: str, number: int) -> None:
        with self._parts.changing("alias", project, artifact):
            self._inner.move(project, artifact, alias, number)

    def remove(self, project: str, artifact: str, alias: str) -> None:
        with self._parts.changing("alias", project, artifact):
            self._inner.remove(project, artifact, alias)


class NoticedDrafts:
    """Uploads are never refused: whoever began one has time, and tries again."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.drafts
        self._projects: dict[str, str] = {}  # by draft, of those opened here and not ended

    def open(self, project: str) -> DraftRecord:
        with self._parts.noticing():
            draft = self._inner.open(project)
        self._projects[draft.id] = project
        return draft

    def renew(self, draft: str) -> DraftRecord:
        with self._parts.noticing():
            return self._inner.renew(draft)

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        with self._parts.noticing():
            return self._inner.missing(draft, keys)

    def put_pack(self, draft: str, pack: Path) -> None:
        with self._parts.noticing():
            self._inner.put_pack(draft, pack)

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        with self._parts.changing("artifact", self._projects.get(draft, ""), request.artifact):
            result = self._inner.seal(draft, request)
        if self._projects.pop(draft, None) is None:
            self._parts.forget(Change(0, "artifact", result.version.project, request.artifact))
        return result

    def abandon(self, draft: str) -> None:
        self._projects.pop(draft, None)
        with self._parts.noticing():
            self._inner.abandon(draft)


class NoticedObjects:
    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._inner = parts.inner.objects

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        self._parts.refuse()
        with self._parts.call():
            return self._inner.locate(project, keys)


class NoticedPages:
    def __init__(self, parts: RegistryParts, inner: FarPages) -> None:
        self._parts = parts
        self._inner = inner

    def pages(self, project: str, digest: Digest) -> list[FarPage]:
        self._parts.refuse()
        with self._parts.call():
            return self._inner.pages(project, digest)
