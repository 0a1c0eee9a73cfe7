"""Runs, sweeps, lineage, and drafts that many writers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artfs.model.lineage import Direction
from artfs.model.names import parse_version
from artfs.server.catalog_routes import ARTIFACT, PROJECT
from artfs.server.routes import PAGING, PAGING_NUMBERS, Call, Operation, Parameter, page_after, query_number
from artfs.wire.http import Contribution, Finish, History, NewEdges, NewSharedDraft, Page, Parts
from artfs.wire.records import SealResult
from artfs.wire.runs import (
    HistoryRow,
    LineageGraph,
    NewRun,
    NewSweep,
    RunChange,
    RunEdges,
    RunRecord,
    SharedDraftRecord,
    SweepRecord,
    VersionEdges,
)
from artfs.wire.service import GRAPH_NODES_MAX

RUNS = PROJECT + "/runs"
RUN = RUNS + "/{run}"
SWEEP = PROJECT + "/sweeps/{sweep}"
VERSION = ARTIFACT + "/versions/{version}"
SHARED = "/shared-drafts/{shared}"


_FILTERS = (
    Parameter("group", "only runs of this group", "string"),
    Parameter("sweep", "only runs of this sweep", "string"),
)
_GRAPH = (
    Parameter(
        "direction",
        "`up` to what it was made from, `down` to what was made from it; `both` if not given",
        "string",
        choices=tuple(direction.value for direction in Direction),
    ),
    Parameter("depth", f"how many edges away at most; {GRAPH_NODES_MAX} if not given"),
)


def _of(call: Call) -> tuple[str, str]:
    return call.path["project"], call.path["run"]


def _version(call: Call) -> tuple[str, str, int]:
    number = parse_version(call.path["version"])
    assert number is not None  # the path was checked
    return call.path["project"], call.path["artifact"], number


def list_runs(call: Call) -> Page[RunRecord]:
    runs, group, sweep = call.registry.runs, call.query.get("group", ""), call.query.get("sweep", "")

    def ask(after: int, limit: int) -> list[RunRecord]:
        return runs.list(call.path["project"], group=group, sweep=sweep, after=after, limit=limit)

    return page_after(ask, query_number(call.query, "after", -1), call.limit, lambda record: record.number)


def start_run(call: Call) -> RunRecord:
    return call.registry.runs.start(call.path["project"], call.body)


def get_run(call: Call) -> RunRecord:
    return call.registry.runs.get(*_of(call))


def change_run(call: Call) -> RunRecord:
    return call.registry.runs.update(*_of(call), call.body)


def delete_run(call: Call) -> None:
    call.registry.runs.delete(*_of(call))


def list_history(call: Call) -> Page[HistoryRow]:
    def ask(after: int, limit: int) -> Sequence[HistoryRow]:
        return call.registry.runs.history(*_of(call), after=after, limit=limit)

    return page_after(ask, query_number(call.query, "after", -1), call.limit, lambda row: row.step)


def add_history(call: Call) -> None:
    history: History = call.body
    call.registry.runs.log(*_of(call), history.rows)


def get_run_edges(call: Call) -> RunEdges:
    return call.registry.lineage.of_run(*_of(call))


def add_run_edges(call: Call) -> None:
    edges: NewEdges = call.body
    call.registry.lineage.record(*_of(call), edges.kind, edges.parsed())


def list_sweeps(call: Call) -> Page[SweepRecord]:
    def ask(after: str, limit: int) -> list[SweepRecord]:
        return call.registry.sweeps.list(call.path["project"], after=after, limit=limit)

    return page_after(ask, call.query.get("after", ""), call.limit, lambda record: record.id)


def create_sweep(call: Call) -> SweepRecord:
    return call.registry.sweeps.create(call.path["project"], call.body)


def get_sweep(call: Call) -> SweepRecord:
    return call.registry.sweeps.get(call.path["project"], call.path["sweep"])


def delete_sweep(call: Call) -> None:
    call.registry.sweeps.delete(call.path["project"], call.path["sweep"])


def get_version_edges(call: Call) -> VersionEdges:
    return call.registry.lineage.of_version(*_version(call))


def get_lineage(call: Call) -> LineageGraph:
    direction = Direction(call.query.get("direction", Direction.BOTH.value))
    return call.registry.lineage.graph(
        *_version(call), direction=direction, depth=call.number("depth", GRAPH_NODES_MAX)
    )


def open_shared_draft(call: Call) -> SharedDraftRecord:
    return call.registry.shared_drafts.open(call.path["project"], call.path["artifact"], call.body.group)


def list_parts(call: Call) -> Parts:
    return Parts(call.registry.shared_drafts.parts(call.path["shared"]))


def add_part(call: Call) -> None:
    contribution: Contribution = call.body
    call.registry.shared_drafts.add(call.path["shared"], contribution.draft, contribution.part)


def finish(call: Call) -> SealResult:
    body: Finish = call.body
    return call.registry.shared_drafts.finish(call.path["shared"], body.draft, body.request, body.parts)


def abandon_shared_draft(call: Call) -> None:
    call.registry.shared_drafts.abandon(call.path["shared"])


def _row(method: str, path: str, summary: str, handler: Any, answer: Any = None, **more: Any) -> Operation:
    return Operation(method, path, summary, handler, answer=answer, status=200 if answer else 204, **more)


OPERATIONS = (
    _row("GET", RUNS, "List runs", list_runs, Page[RunRecord], query=(*PAGING_NUMBERS, *_FILTERS)),
    _row("POST", RUNS, "Start a run, or go on with one", start_run, RunRecord, body=NewRun),
    _row("GET", RUN, "One run", get_run, RunRecord),
    _row("PATCH", RUN, "Say how a run is", change_run, RunRecord, body=RunChange),
    _row("DELETE", RUN, "Delete a run, its history and its edges", delete_run),
    _row(
        "GET", RUN + "/history", "What a run logged, step by step", list_history, Page[HistoryRow], query=PAGING_NUMBERS
    ),
    _row("POST", RUN + "/history", "Log values, or say that the run lives", add_history, body=History),
    _row("GET", RUN + "/edges", "The versions that a run logged and used", get_run_edges, RunEdges),
    _row("POST", RUN + "/edges", "Note what a run logged or used", add_run_edges, body=NewEdges),
    _row("GET", PROJECT + "/sweeps", "List sweeps", list_sweeps, Page[SweepRecord], query=PAGING),
    _row("POST", PROJECT + "/sweeps", "Create a sweep", create_sweep, SweepRecord, body=NewSweep),
    _row("GET", SWEEP, "One sweep", get_sweep, SweepRecord),
    _row("DELETE", SWEEP, "Delete a sweep; its runs stay", delete_sweep),
    _row("GET", VERSION + "/edges", "The runs that logged and used a version", get_version_edges, VersionEdges),
    _row(
        "GET",
        VERSION + "/lineage",
        "What a version follows from, and what from it",
        get_lineage,
        LineageGraph,
        query=_GRAPH,
    ),
    _row(
        "POST",
        ARTIFACT + "/shared-drafts",
        "The shared draft of a group, opened if need be",
        open_shared_draft,
        SharedDraftRecord,
        body=NewSharedDraft,
    ),
    _row("GET", SHARED + "/parts", "What was contributed so far", list_parts, Parts),
    _row("POST", SHARED + "/parts", "Contribute a part", add_part, body=Contribution),
    _row("POST", SHARED + "/finish", "Make a version of the parts", finish, SealResult, body=Finish),
    _row("DELETE", SHARED, "End a shared draft without a version", abandon_shared_draft),
)
