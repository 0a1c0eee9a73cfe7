"""A registry as one caller may use it: every call is checked, then passed on. Has no rules of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from artfs.errors import AccessDenied, AlreadyExists, DraftNotFound
from artfs.model.access import Operation, Visibility
from artfs.model.digest import ObjectKey
from artfs.registry.changes import FAREWELL, shown
from artfs.registry.guard import Guard
from artfs.registry.guarded_access import GuardedAccess
from artfs.registry.guarded_runs import GuardedLineage, GuardedRuns, GuardedSharedDrafts, GuardedSweeps
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.records import (
    ArtifactRecord,
    Change,
    DeletionPlan,
    DraftRecord,
    Identity,
    Location,
    ProjectRecord,
    SealRequest,
    SealResult,
    VersionChange,
    VersionRecord,
)

LIST_BATCH = 1000
CHANGES_BATCH = 1000


class GuardedProjects:
    """`Projects` of one caller: those that it may not know of do not exist."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._registry = registry
        self._inner = registry.projects
        self._guard = guard

    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        found: list[ProjectRecord] = []
        while limit is None or len(found) < limit:
            page = self._inner.list(after=after, limit=LIST_BATCH)
            visible = self._guard.visible([record.name for record in page])
            found += [record for record in page if record.name in visible]
            if len(page) < LIST_BATCH:
                break
            after = page[-1].name
        return found[:limit]

    def get(self, project: str) -> ProjectRecord:
        self._guard.require(Operation.READ, project)
        return self._inner.get(project)

    def create(
        self, project: str, *, exist_ok: bool = False, visibility: Visibility = Visibility.PRIVATE
    ) -> ProjectRecord:
        if exist_ok and self._guard.may_read(project):
            return self._inner.get(project)
        self._guard.require_of_server(Operation.CREATE_PROJECT)
        try:
            return self._inner.create(project, visibility=visibility, admin=self._guard.user)
        except AlreadyExists:
            if exist_ok and self._guard.may_read(project):  # somebody was faster
                return self._inner.get(project)
            if not exist_ok or self._guard.may_read(project):
                raise
            raise AccessDenied(f"the name {project!r} is taken", hint="choose another name") from None

    def update(self, project: str, *, visibility: Visibility) -> ProjectRecord:
        self._guard.require(Operation.ADMINISTER, project)
        return self._inner.update(project, visibility=visibility)

    def delete(self, project: str) -> None:
        self._guard.require(Operation.ADMINISTER, project)
        self._inner.delete(project)


class GuardedArtifacts:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.artifacts
        self._guard = guard

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        self._guard.require(Operation.READ, project)
        return self._inner.list(project, after=after, limit=limit)

    def get(self, project: str, artifact: str) -> ArtifactRecord:
        self._guard.require(Operation.READ, project)
        return self._inner.get(project, artifact)

    def create(self, project: str, artifact: str, *, type: str | None = None, exist_ok: bool = False) -> ArtifactRecord:
        self._guard.require(Operation.WRITE, project)
        return self._inner.create(project, artifact, type=type, exist_ok=exist_ok)

    def update(
        self, project: str, artifact: str, *, type: str | None = None, description: str | None = None
    ) -> ArtifactRecord:
        self._guard.require(Operation.WRITE, project)
        return self._inner.update(project, artifact, type=type, description=description)

    def delete(self, project: str, artifact: str) -> None:
        self._guard.require(Operation.DELETE, project)
        self._inner.delete(project, artifact)


class GuardedVersions:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.versions
        self._guard = guard

    def list(self, project: str, artifact: str, *, after: int = -1, limit: int | None = None) -> list[VersionRecord]:
        self._guard.require(Operation.READ, project)
        bytes_max = self._guard.page_bytes_max
        return self._inner.list(project, artifact, after=after, limit=limit, bytes_max=bytes_max)

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        self._guard.require(Operation.READ, project)
        return self._inner.resolve(project, artifact, selector, as_of=as_of)

    def update(self, project: str, artifact: str, number: int, change: VersionChange) -> VersionRecord:
        """To let a version expire is to delete it, only later."""
        self._guard.require(Operation.DELETE if change.ttl_s else Operation.WRITE, project)
        return self._inner.update(project, artifact, number, change)

    def plan_delete(self, project: str, artifact: str, numbers: Sequence[int]) -> DeletionPlan:
        self._guard.require(Operation.READ, project)
        return self._inner.plan_delete(project, artifact, numbers)

    def delete(
        self, project: str, artifact: str, numbers: Sequence[int], *, delete_aliases: bool = False
    ) -> DeletionPlan:
        self._guard.require(Operation.DELETE, project)
        return self._inner.delete(project, artifact, numbers, delete_aliases=delete_aliases)

    def plan_removal(self, project: str, removal: Removal) -> RemovalPlan:
        self._guard.require(Operation.READ, project)
        return self._inner.plan_removal(project, removal)

    def remove(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        self._guard.require(Operation.ADMINISTER if removal.whole_project else Operation.DELETE, project)
        return self._inner.remove(project, removal, clean=clean)


class GuardedAliases:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.aliases
        self._guard = guard

    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        self._guard.require(Operation.READ, project)
        return self._inner.list(project, artifact, as_of=as_of)

    def move(self, project: str, artifact: str, alias: str, number: int) -> None:
        self._guard.require(Operation.WRITE, project)
        self._inner.move(project, artifact, alias, number)

    def remove(self, project: str, artifact: str, alias: str) -> None:
        self._guard.require(Operation.WRITE, project)
        self._inner.remove(project, artifact, alias)


class GuardedDrafts:
    """`Drafts` of one caller. A draft is named by a secret of its own; who may write to its project may go on with it."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.drafts
        self._guard = guard

    def open(self, project: str) -> DraftRecord:
        self._guard.require(Operation.WRITE, project)
        return self._inner.open(project)

    def renew(self, draft: str) -> DraftRecord:
        self._guard.require_of_draft(draft)
        return self._inner.renew(draft)

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        self._guard.require_of_draft(draft)
        return self._inner.missing(draft, keys)

    def put_pack(self, draft: str, pack: Path) -> None:
        self._guard.require_of_draft(draft)
        self._inner.put_pack(draft, pack)

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        self._guard.require_of_draft(draft)
        self._guard.require_of_run(request.run)
        created_by = self._guard.creator(request.created_by)
        return self._inner.seal(draft, msgspec.structs.replace(request, created_by=created_by))

    def abandon(self, draft: str) -> None:
        try:
            self._guard.require_of_draft(draft)
        except DraftNotFound:
            return  # as for any that is not known
        self._inner.abandon(draft)


class GuardedObjects:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.objects
        self._guard = guard

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        self._guard.require(Operation.READ, project)
        return self._inner.locate(project, keys)

    def read(self, project: str, key: ObjectKey) -> bytes:
        self._guard.require(Operation.READ, project)
        return self._inner.read(project, key)


class GuardedChanges:
    """`Changes` of one caller: those of projects that it may read."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.changes
        self._guard = guard

    def position(self) -> int:
        return self._inner.position()

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        return self.scan(seq, limit)[0]

    def scan(self, seq: int, limit: int = 1000) -> tuple[list[Change], int]:
        """Visible changes after `seq`, and the number up to which there are no others."""
        found: list[Change] = []
        while len(found) < limit:
            page = self._inner.entries(seq, CHANGES_BATCH)
            visible = self._guard.visible({entry.project for entry in page})
            for entry in page:
                seq = entry.seq
                if self._may_see(entry, visible):
                    found.append(shown(entry))
                    if len(found) == limit:
                        return found, seq
            if len(page) < CHANGES_BATCH:
                break
        return found, seq

    def _may_see(self, entry: Change, visible: frozenset[str]) -> bool:
        if self._guard.administers_server or entry.project in visible:
            return True
        return entry.kind == FAREWELL and entry.name in ("", self._guard.user)

    def wait(self, seq: int, timeout_s: float) -> int:
        deadline_s = time.monotonic() + timeout_s
        while True:
            position = self._inner.wait(seq, max(0.0, deadline_s - time.monotonic()))
            if position <= seq or self.since(seq, 1) or time.monotonic() >= deadline_s:
                return position
            seq = position


class GuardedRegistry:
    """A `Registry` for one caller over one that may do everything. Closing it closes nothing.

    With `page_bytes_max` a list of records that may be large is shorter than asked for, rather than much larger than that.
    """

    def __init__(self, registry: SqlRegistry, caller: Identity, *, page_bytes_max: int | None = None) -> None:
        self._registry = registry
        self.guard = guard = Guard(registry, caller, page_bytes_max)
        self.projects = GuardedProjects(registry, guard)
        self.artifacts = GuardedArtifacts(registry, guard)
        self.versions = GuardedVersions(registry, guard)
        self.aliases = GuardedAliases(registry, guard)
        self.drafts = GuardedDrafts(registry, guard)
        self.shared_drafts = GuardedSharedDrafts(registry, guard)
        self.runs = GuardedRuns(registry, guard)
        self.sweeps = GuardedSweeps(registry, guard)
        self.lineage = GuardedLineage(registry, guard)
        self.objects = GuardedObjects(registry, guard)
        self.changes = GuardedChanges(registry, guard)
        self.access = GuardedAccess(registry, guard)

    @property
    def identity(self) -> str:
        return self._registry.identity

    @property
    def spool(self) -> Path:
        return self._registry.spool

    def close(self) -> None:
        pass
