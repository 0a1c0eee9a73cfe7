"""Runs, sweeps, lineage and shared drafts as one caller may see and change them.

A run and a version may be in different projects. What is in one that the caller may not read is not there: it is left out of
answers, and nothing is found through it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from artfs.errors import DraftNotFound
from artfs.model.access import Operation
from artfs.model.digest import Digest
from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.registry.guard import Guard
from artfs.registry.lineage import check_refs
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import (
    HistoryRow,
    LineageGraph,
    NewRun,
    NewSweep,
    Part,
    RunChange,
    RunEdges,
    RunRecord,
    SharedDraftRecord,
    SweepRecord,
    VersionEdges,
)
from artfs.wire.service import GRAPH_NODES_MAX


class GuardedRuns:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.runs
        self._guard = guard

    def list(
        self, project: str, *, group: str = "", sweep: str = "", after: int = -1, limit: int | None = None
    ) -> list[RunRecord]:
        self._guard.require(Operation.READ, project)
        bytes_max = self._guard.page_bytes_max
        return self._inner.list(project, group=group, sweep=sweep, after=after, limit=limit, bytes_max=bytes_max)

    def get(self, project: str, run: str) -> RunRecord:
        self._guard.require(Operation.READ, project)
        return self._inner.get(project, run)

    def start(self, project: str, new: NewRun) -> RunRecord:
        self._guard.require(Operation.WRITE, project)
        created_by = self._guard.creator(new.created_by)
        return self._inner.start(project, msgspec.structs.replace(new, created_by=created_by))

    def update(self, project: str, run: str, change: RunChange) -> RunRecord:
        self._guard.require(Operation.WRITE, project)
        return self._inner.update(project, run, change)

    def log(self, project: str, run: str, rows: Sequence[HistoryRow]) -> None:
        self._guard.require(Operation.WRITE, project)
        self._inner.log(project, run, rows)

    def history(self, project: str, run: str, *, after: int = -1, limit: int | None = None) -> Sequence[HistoryRow]:
        self._guard.require(Operation.READ, project)
        return self._inner.history(project, run, after=after, limit=limit, bytes_max=self._guard.page_bytes_max)

    def delete(self, project: str, run: str) -> None:
        self._guard.require(Operation.DELETE, project)
        self._inner.delete(project, run)


class GuardedSweeps:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.sweeps
        self._guard = guard

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[SweepRecord]:
        self._guard.require(Operation.READ, project)
        return self._inner.list(project, after=after, limit=limit, bytes_max=self._guard.page_bytes_max)

    def get(self, project: str, sweep: str) -> SweepRecord:
        self._guard.require(Operation.READ, project)
        return self._inner.get(project, sweep)

    def create(self, project: str, new: NewSweep) -> SweepRecord:
        self._guard.require(Operation.WRITE, project)
        created_by = self._guard.creator(new.created_by)
        return self._inner.create(project, msgspec.structs.replace(new, created_by=created_by))

    def delete(self, project: str, sweep: str) -> None:
        self._guard.require(Operation.DELETE, project)
        self._inner.delete(project, sweep)


class GuardedLineage:
    """`Lineage` of one caller. Who notes an edge writes to the run; who used a version could read it, who made it write it."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.lineage
        self._guard = guard

    def record(self, project: str, run: str, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
        self._guard.require(Operation.WRITE, project)
        check_refs(versions)
        needed = Operation.READ if kind is EdgeKind.USED else Operation.WRITE
        for of in dict.fromkeys(version.project for version in versions):
            self._guard.require(needed, of)
        self._inner.record(project, run, kind, versions)

    def of_run(self, project: str, run: str) -> RunEdges:
        self._guard.require(Operation.READ, project)
        return self._inner.of_run(project, run, shown=self._guard.shown)

    def of_version(self, project: str, artifact: str, number: int) -> VersionEdges:
        self._guard.require(Operation.READ, project)
        return self._inner.of_version(project, artifact, number, shown=self._guard.shown)

    def graph(
        self,
        project: str,
        artifact: str,
        number: int,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = GRAPH_NODES_MAX,
    ) -> LineageGraph:
        self._guard.require(Operation.READ, project)
        return self._inner.graph(project, artifact, number, direction=direction, depth=depth, shown=self._guard.shown)


class GuardedSharedDrafts:
    """`SharedDrafts` of one caller. Like a draft, one is named by a secret, and who may write to its project goes on with it."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.shared_drafts
        self._guard = guard

    def open(self, project: str, artifact: str, group: str) -> SharedDraftRecord:
        self._guard.require(Operation.WRITE, project)
        return self._inner.open(project, artifact, group)

    def add(self, shared: str, draft: str, part: Part) -> None:
        self._guard.require_of_shared_draft(shared)
        self._guard.require_of_run(part.run)
        self._inner.add(shared, draft, part)

    def parts(self, shared: str) -> list[Part]:
        """With the runs that the caller may know of."""
        self._guard.require_of_shared_draft(shared)
        parts = self._inner.parts(shared)
        visible = self._guard.visible({RunRef.parse(part.run).project for part in parts if part.run})
        return [
            part if not part.run or RunRef.parse(part.run).project in visible else msgspec.structs.replace(part, run="")
            for part in parts
        ]

    def finish(self, shared: str, draft: str, request: SealRequest, parts: Sequence[Digest]) -> SealResult:
        self._guard.require_of_shared_draft(shared)
        self._guard.require_of_run(request.run)
        created_by = self._guard.creator(request.created_by)
        return self._inner.finish(shared, draft, msgspec.structs.replace(request, created_by=created_by), parts)

    def abandon(self, shared: str) -> None:
        try:
            self._guard.require_of_shared_draft(shared)
        except DraftNotFound:
            return  # as for any that is not known
        self._inner.abandon(shared)
