"""Runs, sweeps and lineage of a server.

A run or sweep without an id gets it here, so that a request whose answer was lost makes no second one when it is repeated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from artfs.client.remote.paths import all_pages, artifact_path, project_path
from artfs.client.remote.transport import Transport
from artfs.errors import AlreadyExists
from artfs.model.lineage import Direction, EdgeKind, Resume, VersionRef, choose_id
from artfs.model.names import version_name
from artfs.wire.http import History, NewEdges, Page
from artfs.wire.runs import (
    HistoryRow,
    LineageGraph,
    NewRun,
    NewSweep,
    RunChange,
    RunEdges,
    RunRecord,
    SweepRecord,
    VersionEdges,
)
from artfs.wire.service import GRAPH_NODES_MAX


class RemoteRuns:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, project: str, *, group: str = "", sweep: str = "", after: int = -1, limit: int | None = None
    ) -> list[RunRecord]:
        url = project_path(project, "runs")
        query = {name: value for name, value in (("group", group), ("sweep", sweep)) if value}
        return all_pages(self._transport, url, Page[RunRecord], after=after, limit=limit, query=query)

    def get(self, project: str, run: str) -> RunRecord:
        return self._transport.get(project_path(project, "runs", run), RunRecord)

    def start(self, project: str, new: NewRun) -> RunRecord:
        if not new.id and new.resume is not Resume.MUST:
            new = msgspec.structs.replace(new, id=choose_id(os.urandom), resume=Resume.ALLOW)
        again = new.resume is not Resume.NEVER  # else the second request would meet the first one's run
        return self._transport.send("POST", project_path(project, "runs"), new, RunRecord, again=again)

    def update(self, project: str, run: str, change: RunChange) -> RunRecord:
        return self._transport.send("PATCH", project_path(project, "runs", run), change, RunRecord)

    def log(self, project: str, run: str, rows: Sequence[HistoryRow]) -> None:
        self._transport.send("POST", project_path(project, "runs", run, "history"), History(list(rows)))

    def history(self, project: str, run: str, *, after: int = -1, limit: int | None = None) -> Sequence[HistoryRow]:
        url = project_path(project, "runs", run, "history")
        return all_pages(self._transport, url, Page[HistoryRow], after=after, limit=limit)

    def delete(self, project: str, run: str) -> None:
        self._transport.send("DELETE", project_path(project, "runs", run), again=False)


class RemoteSweeps:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[SweepRecord]:
        url = project_path(project, "sweeps")
        return all_pages(self._transport, url, Page[SweepRecord], after=after, limit=limit)

    def get(self, project: str, sweep: str) -> SweepRecord:
        return self._transport.get(project_path(project, "sweeps", sweep), SweepRecord)

    def create(self, project: str, new: NewSweep) -> SweepRecord:
        url = project_path(project, "sweeps")
        if new.id:
            return self._transport.send("POST", url, new, SweepRecord, again=False)
        new = msgspec.structs.replace(new, id=choose_id(os.urandom))
        try:
            return self._transport.send("POST", url, new, SweepRecord)
        except AlreadyExists:  # nobody else has chosen that id: an answer was lost
            return self.get(project, new.id)

    def delete(self, project: str, sweep: str) -> None:
        self._transport.send("DELETE", project_path(project, "sweeps", sweep), again=False)


class RemoteLineage:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def record(self, project: str, run: str, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
        self._transport.send("POST", project_path(project, "runs", run, "edges"), NewEdges.of(kind, list(versions)))

    def of_run(self, project: str, run: str) -> RunEdges:
        return self._transport.get(project_path(project, "runs", run, "edges"), RunEdges)

    def of_version(self, project: str, artifact: str, number: int) -> VersionEdges:
        url = artifact_path(project, artifact, "versions", version_name(number), "edges")
        return self._transport.get(url, VersionEdges)

    def graph(
        self,
        project: str,
        artifact: str,
        number: int,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = GRAPH_NODES_MAX,
    ) -> LineageGraph:
        url = artifact_path(project, artifact, "versions", version_name(number), "lineage")
        return self._transport.get(url, LineageGraph, {"direction": direction.value, "depth": depth})
