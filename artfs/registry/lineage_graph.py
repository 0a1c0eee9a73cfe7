"""Walking the lineage graph from one version, level by level, as far as the caller may see.

Levels up and down take turns, and within a level what was entered first comes first: so where there is too much, what is left
out is what is farthest, and it is the same every time. What is hidden is not walked through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from artfs.model.lineage import Direction, EdgeKind, VersionRef
from artfs.registry.database import Row, Transaction, rows_in
from artfs.registry.runs import RUN_COLUMNS, RUN_TABLES, run_record
from artfs.wire.records import DEFAULT_TYPE
from artfs.wire.runs import Edge, LineageGraph, LineageNode, RunRecord
from artfs.wire.service import GRAPH_NODES_MAX

Shown = Callable[[Transaction, Collection[str]], Collection[str]]
"""Which of some projects the caller may read."""


def everything(tx: Transaction, projects: Collection[str]) -> Collection[str]:
    """What a caller may read who may read everything."""
    return projects


class _Step(NamedTuple):
    """How one goes from nodes of one sort to those of the other: the column one comes from, that one goes to, the edges."""

    source: str
    target: str
    kind: EdgeKind
    projects: str  # of the targets


_OF_RUNS = "SELECT r.id, p.name FROM runs r JOIN projects p ON p.id = r.project_id WHERE r.id IN ({})"
_OF_VERSIONS = (
    "SELECT v.id, p.name FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
    " JOIN projects p ON p.id = a.project_id WHERE v.id IN ({})"
)
_UP = (
    _Step("version_id", "run_id", EdgeKind.LOGGED, _OF_RUNS),
    _Step("run_id", "version_id", EdgeKind.USED, _OF_VERSIONS),
)
_DOWN = (
    _Step("version_id", "run_id", EdgeKind.USED, _OF_RUNS),
    _Step("run_id", "version_id", EdgeKind.LOGGED, _OF_VERSIONS),
)


class _Front:
    """How far a walk came in one direction: the nodes of its last level."""

    def __init__(self, steps: tuple[_Step, _Step], version_id: int) -> None:
        self.steps = steps
        self.nodes = [version_id]
        self.met: tuple[set[int], set[int]] = ({version_id}, set())


class GraphWalk:
    """One walk, inside a reading transaction."""

    def __init__(self, tx: Transaction, version_id: int, shown: Shown) -> None:
        self._tx = tx
        self._start = version_id
        self._shown = shown
        self._versions = {version_id: None}
        self._runs: dict[int, None] = {}
        self._complete = True

    def run(self, direction: Direction, depth: int) -> None:
        fronts = [
            _Front(steps, self._start)
            for steps, there in ((_UP, Direction.UP), (_DOWN, Direction.DOWN))
            if direction in (there, Direction.BOTH)
        ]
        level = 0
        while level < depth and any(front.nodes for front in fronts):
            for front in fronts:
                self._advance(front, level % 2)
            level += 1

    def _advance(self, front: _Front, parity: int) -> None:
        """One level further: from versions (0) to runs, or from runs (1) to versions."""
        step, met = front.steps[parity], front.met[1 - parity]
        found = self._runs if parity == 0 else self._versions
        sql = f"SELECT {step.target} FROM run_edges WHERE kind = ? AND {step.source} IN ({{}})"
        reached = {id_ for (id_,) in rows_in(self._tx, sql, (step.kind.value,), front.nodes)} - met
        front.nodes = []
        for id_ in self._visible(step.projects, sorted(reached)):
            if id_ not in found and len(self._versions) + len(self._runs) >= GRAPH_NODES_MAX:
                self._complete = False
                break
            found[id_] = None
            met.add(id_)
            front.nodes.append(id_)

    def _visible(self, sql: str, ids: list[int]) -> list[int]:
        projects: dict[int, str] = dict(rows_in(self._tx, sql, (), ids))
        visible = self._shown(self._tx, set(projects.values()))
        return [id_ for id_ in ids if projects[id_] in visible]

    def graph(self, now_ns: int) -> LineageGraph:
        """What was found, by name, with all edges between any of it."""
        versions = self._version_nodes()
        runs = self._run_records(now_ns)
        sql = "SELECT run_id, kind, version_id FROM run_edges WHERE run_id IN ({})"
        edges = {
            Edge(EdgeKind(kind), runs[run].ref, versions[version].version)
            for run, kind, version in rows_in(self._tx, sql, (), sorted(runs))
            if version in versions
        }
        return LineageGraph(
            sorted(versions.values(), key=lambda node: node.version),
            sorted(runs.values(), key=lambda run: run.number),
            sorted(edges, key=_order),
            self._complete,
        )

    def _version_nodes(self) -> dict[int, LineageNode]:
        ids = sorted(self._versions)
        aliases: dict[int, list[str]] = {id_: [] for id_ in ids}
        sql = (
            "SELECT DISTINCT v.id, x.alias FROM versions v JOIN aliases x ON x.artifact_id = v.artifact_id"
            " AND x.version = v.number WHERE v.id IN ({})"
        )
        for id_, alias in sorted(self._distinct(sql, ids)):
            aliases[id_].append(alias)
        sql = (
            "SELECT v.id, p.name, a.name, v.number, a.type FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
            " JOIN projects p ON p.id = a.project_id WHERE v.id IN ({})"
        )
        return {
            id_: LineageNode(VersionRef(*ref), type_ or DEFAULT_TYPE, aliases[id_])
            for id_, *ref, type_ in self._distinct(sql, ids)
        }

    def _run_records(self, now_ns: int) -> dict[int, RunRecord]:
        sql = f"SELECT {RUN_COLUMNS} FROM {RUN_TABLES} WHERE r.id IN ({{}})"
        records = (run_record(row, now_ns) for row in self._distinct(sql, sorted(self._runs)))
        return {record.number: record for record in records}

    def _distinct(self, sql: str, ids: list[int]) -> Iterable[Row]:
        return set(rows_in(self._tx, sql, (), ids))


def _order(edge: Edge) -> tuple[VersionRef, str, object]:
    return edge.version, edge.kind.value, edge.run
