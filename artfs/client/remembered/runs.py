"""Runs, sweeps, lineage and shared drafts: nothing of them is remembered, only whether the registry answered."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.client.remembered.parts import RegistryParts
from artfs.model.digest import Digest
from artfs.model.lineage import Direction, EdgeKind, VersionRef
from artfs.wire.records import Change, SealRequest, SealResult
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


class NoticedRuns:
    def __init__(self, parts: RegistryParts) -> None:
        self._noticing = parts.noticing
        self._inner = parts.inner.runs

    def list(
        self, project: str, *, group: str = "", sweep: str = "", after: int = -1, limit: int | None = None
    ) -> list[RunRecord]:
        with self._noticing():
            return self._inner.list(project, group=group, sweep=sweep, after=after, limit=limit)

    def get(self, project: str, run: str) -> RunRecord:
        with self._noticing():
            return self._inner.get(project, run)

    def start(self, project: str, new: NewRun) -> RunRecord:
        with self._noticing():
            return self._inner.start(project, new)

    def update(self, project: str, run: str, change: RunChange) -> RunRecord:
        with self._noticing():
            return self._inner.update(project, run, change)

    def log(self, project: str, run: str, rows: Sequence[HistoryRow]) -> None:
        with self._noticing():
            self._inner.log(project, run, rows)

    def history(self, project: str, run: str, *, after: int = -1, limit: int | None = None) -> Sequence[HistoryRow]:
        with self._noticing():
            return self._inner.history(project, run, after=after, limit=limit)

    def delete(self, project: str, run: str) -> None:
        with self._noticing():
            self._inner.delete(project, run)


class NoticedSweeps:
    def __init__(self, parts: RegistryParts) -> None:
        self._noticing = parts.noticing
        self._inner = parts.inner.sweeps

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[SweepRecord]:
        with self._noticing():
            return self._inner.list(project, after=after, limit=limit)

    def get(self, project: str, sweep: str) -> SweepRecord:
        with self._noticing():
            return self._inner.get(project, sweep)

    def create(self, project: str, new: NewSweep) -> SweepRecord:
        with self._noticing():
            return self._inner.create(project, new)

    def delete(self, project: str, sweep: str) -> None:
        with self._noticing():
            self._inner.delete(project, sweep)


class NoticedLineage:
    def __init__(self, parts: RegistryParts) -> None:
        self._noticing = parts.noticing
        self._inner = parts.inner.lineage

    def record(self, project: str, run: str, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
        with self._noticing():
            self._inner.record(project, run, kind, versions)

    def of_run(self, project: str, run: str) -> RunEdges:
        with self._noticing():
            return self._inner.of_run(project, run)

    def of_version(self, project: str, artifact: str, number: int) -> VersionEdges:
        with self._noticing():
            return self._inner.of_version(project, artifact, number)

    def graph(
        self,
        project: str,
        artifact: str,
        number: int,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = GRAPH_NODES_MAX,
    ) -> LineageGraph:
        with self._noticing():
            return self._inner.graph(project, artifact, number, direction=direction, depth=depth)


class NoticedSharedDrafts:
    """Like uploads, they are never refused: whoever began one has time, and tries again."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._noticing = parts.noticing
        self._inner = parts.inner.shared_drafts
        self._projects: dict[str, str] = {}  # by shared draft, of those opened here and not ended

    def open(self, project: str, artifact: str, group: str) -> SharedDraftRecord:
        with self._noticing():
            record = self._inner.open(project, artifact, group)
        self._projects[record.id] = project
        return record

    def add(self, shared: str, draft: str, part: Part) -> None:
        with self._noticing():
            self._inner.add(shared, draft, part)

    def parts(self, shared: str) -> list[Part]:
        with self._noticing():
            return self._inner.parts(shared)

    def finish(self, shared: str, draft: str, request: SealRequest, parts: Sequence[Digest]) -> SealResult:
        with self._parts.changing("artifact", self._projects.get(shared, ""), request.artifact):
            result = self._inner.finish(shared, draft, request, parts)
        if self._projects.pop(shared, None) is None:
            self._parts.forget(Change(0, "artifact", result.version.project, request.artifact))
        return result

    def abandon(self, shared: str) -> None:
        self._projects.pop(shared, None)
        with self._noticing():
            self._inner.abandon(shared)
