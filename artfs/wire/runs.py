"""Records of runs, sweeps, lineage and shared drafts. Times are nanoseconds since the epoch."""

from __future__ import annotations

from typing import Any

import msgspec

from artfs.model.digest import Digest
from artfs.model.lineage import EdgeKind, Resume, RunRef, RunState, VersionRef

HISTORY_ROWS_MAX = 1000  # of one call


class RunRecord(msgspec.Struct, frozen=True):
    """What produced and consumed versions.

    `number` grows in the order of starts, with gaps. `state` is as of the answer: a running run that was not heard of for
    RUN_LAPSE_S is failed. `config` is what went in, `summary` the last of each value that was logged.
    """

    project: str
    id: str
    number: int
    name: str
    state: RunState
    group: str
    job_type: str
    sweep: str
    config: dict[str, Any]
    summary: dict[str, Any]
    created_at_ns: int
    created_by: str
    heard_of_at_ns: int
    ended_at_ns: int | None = None
    exit_code: int | None = None
    notes: str = ""
    tags: list[str] = []

    @property
    def ref(self) -> RunRef:
        return RunRef(self.project, self.id)


class NewRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run that starts, or goes on. `id` empty: the registry chooses one. `config` adds to that of a run that goes on."""

    id: str = ""
    resume: Resume = Resume.NEVER
    name: str = ""  # empty: the id
    notes: str = ""
    tags: list[str] = []
    group: str = ""
    job_type: str = ""
    sweep: str = ""
    config: dict[str, Any] = {}
    created_by: str = ""


class RunChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is null stays as it is. `config` and `summary` set the keys they have, and leave the others."""

    name: str | None = None
    notes: str | None = None
    tags: list[str] | None = None
    state: RunState | None = None
    exit_code: int | None = None
    config: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None


class HistoryRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values that a run logged at one step."""

    step: int
    time_ns: int
    values: dict[str, Any]


class SweepRecord(msgspec.Struct, frozen=True):
    """A group of runs that try variants of one thing. `config` is what W&B writes there: `metric` names the goal."""

    project: str
    id: str
    name: str
    config: dict[str, Any]
    created_at_ns: int
    created_by: str


class NewSweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`id` empty: the registry chooses one."""

    id: str = ""
    name: str = ""
    config: dict[str, Any] = {}
    created_by: str = ""


class RunEdges(msgspec.Struct, frozen=True):
    """What a run logged and used, in the order in which it was noted, of what the caller may read."""

    logged: list[VersionRef] = []
    used: list[VersionRef] = []


class VersionEdges(msgspec.Struct, frozen=True):
    """The runs that logged (the first made it) and used a version, in the order noted, of those the caller may read."""

    logged_by: list[RunRef] = []
    used_by: list[RunRef] = []


class Edge(msgspec.Struct, frozen=True, order=True):
    kind: EdgeKind
    run: RunRef
    version: VersionRef


class LineageNode(msgspec.Struct, frozen=True):
    """A version of a graph, with what a drawing says of it."""

    version: VersionRef
    type: str
    aliases: list[str]


class LineageGraph(msgspec.Struct, frozen=True):
    """A part of the lineage graph. `complete` is False where more than `GRAPH_NODES_MAX` would have been found."""

    versions: list[LineageNode]
    runs: list[RunRecord]  # without config and summary
    edges: list[Edge]
    complete: bool = True


class SharedDraftRecord(msgspec.Struct, frozen=True):
    """A draft that many writers contribute parts to, until one of them finishes it. Named by project, artifact and group."""

    id: str
    project: str
    artifact: str
    group: str
    expires_at_ns: int


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one writer contributed: a tree, with what it says about the version to be.

    `run` is `project/id` of the writer's run, or empty; it is noted as having logged the version.
    """

    root: Digest
    run: str = ""
    description: str | None = None
    metadata: dict[str, Any] = {}
    aliases: list[str] = []
