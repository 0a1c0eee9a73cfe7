"""Edges between runs and versions: noting them so that no cycle comes to be, and walking them.

A cycle is looked for in the transaction that notes an edge, downwards from where the edge leads: what was just made has nothing
below it, so that costs little. Every new edge of one call begins at its run, or every one ends there, so a cycle has
exactly one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from artfs.errors import InvalidValue, LineageCycle
from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.registry.catalog import find_artifact, find_project, find_versions
from artfs.registry.database import Row, Transaction, allocate, rows_in
from artfs.registry.lineage_graph import GraphWalk, Shown, everything
from artfs.registry.resources import Resources
from artfs.registry.runs import Run, find_run
from artfs.wire.records import VersionRecord
from artfs.wire.runs import LineageGraph, RunEdges, VersionEdges
from artfs.wire.service import EDGES_MAX, GRAPH_NODES_MAX

_BELOW = (  # versions that follow from those in `below`
    " UNION SELECT l.version_id FROM below b JOIN run_edges u ON u.version_id = b.id AND u.kind = 'used'"
    " JOIN run_edges l ON l.run_id = u.run_id AND l.kind = 'logged')"
)
_USED_BELOW = (  # what the run used of what follows from some versions
    "SELECT x.version_id FROM run_edges x WHERE x.run_id = ? AND x.kind = 'used' AND x.version_id IN ("
    f"WITH RECURSIVE below(id) AS (SELECT v.id FROM versions v WHERE v.id IN ({{}}){_BELOW} SELECT b.id FROM below b)"
    " LIMIT 1"
)
_BELOW_RUN = (  # which versions follow from what the run logged
    "WITH RECURSIVE below(id) AS (SELECT e.version_id FROM run_edges e WHERE e.run_id = ? AND e.kind = 'logged'"
    f"{_BELOW} SELECT b.id FROM below b WHERE b.id IN ({{}}) ORDER BY b.id LIMIT 1"
)

_log = logging.getLogger(__name__)


def note_edges(tx: Transaction, run: Run, kind: EdgeKind, versions: Iterable[int]) -> None:
    """Note that `run` did so with `versions`, given as rows. Raises LineageCycle."""
    wanted = list(dict.fromkeys(versions))
    sql = "SELECT version_id FROM run_edges WHERE run_id = ? AND kind = ? AND version_id IN ({})"
    known = {id_ for (id_,) in rows_in(tx, sql, (run.id, kind.value), sorted(wanted))}
    new = [id_ for id_ in wanted if id_ not in known]
    if not new:
        return
    _check_acyclic(tx, run, kind, new)
    first = allocate(tx, "run_edges", len(new))
    tx.run_many(
        "INSERT INTO run_edges (id, run_id, kind, version_id) VALUES (?, ?, ?, ?)",
        ((first + i, run.id, kind.value, id_) for i, id_ in enumerate(new)),
    )


def try_note_logged(tx: Transaction, run: Run, version: VersionRecord) -> None:
    """Note that `run` logged `version`, unless it would follow from itself: then that is only told in the log."""
    ref = VersionRef(version.project, version.artifact, version.number)
    try:
        note_edges(tx, run, EdgeKind.LOGGED, _find_versions(tx, [ref]))
    except LineageCycle as error:
        _log.warning("not noted that %s logged %s, whose content it had: %s", run.ref, ref, error.message)


def _check_acyclic(tx: Transaction, run: Run, kind: EdgeKind, versions: Sequence[int]) -> None:
    """Raises LineageCycle if `run` cannot have logged, or used, `versions`."""
    hint = "what a run uses is made before what it logs"
    if kind is EdgeKind.USED:
        for (id_,) in rows_in(tx, _BELOW_RUN, (run.id,), sorted(versions)):
            raise LineageCycle(
                f"{run.ref} cannot have used {_name(tx, id_)}, which follows from what it logged", hint=hint
            )
    elif any(True for _ in rows_in(tx, _USED_BELOW, (run.id,), sorted(versions))):
        above = next(id_ for id_ in versions if any(True for _ in rows_in(tx, _USED_BELOW, (run.id,), [id_])))
        raise LineageCycle(
            f"{run.ref} cannot have logged {_name(tx, above)}, from which follows what it used", hint=hint
        )


def _name(tx: Transaction, version_id: int) -> VersionRef:
    (ref,) = (VersionRef(*row) for row in tx.rows(f"{_NAMED} WHERE v.id = ?", (version_id,)))
    return ref


_NAMED = (
    "SELECT p.name, a.name, v.number FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
    " JOIN projects p ON p.id = a.project_id"
)


def _find_versions(tx: Transaction, refs: Sequence[VersionRef]) -> list[int]:
    """Their rows. Raises ProjectNotFound, ArtifactNotFound and VersionNotFound."""
    found: dict[VersionRef, int] = {}
    for project_name in dict.fromkeys(ref.project for ref in refs):
        project = find_project(tx, project_name)
        of_project = [ref for ref in refs if ref.project == project_name]
        for artifact_name in dict.fromkeys(ref.artifact for ref in of_project):
            artifact = find_artifact(tx, project, artifact_name)
            numbers = [ref.number for ref in of_project if ref.artifact == artifact_name]
            for number, id_ in find_versions(tx, project, artifact, numbers).items():
                found[VersionRef(project_name, artifact_name, number)] = id_
    return [found[ref] for ref in refs]


class Lineage:
    """The `Lineage` service. `shown` tells which projects the caller may read; what is in others is left out."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def record(self, project: str, run: str, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
        check_refs(versions)
        with self._database.write() as tx:
            note_edges(tx, find_run(tx, RunRef(project, run)), kind, _find_versions(tx, versions))

    def of_run(self, project: str, run: str, *, shown: Shown = everything) -> RunEdges:
        with self._database.read() as tx:
            found = find_run(tx, RunRef(project, run))
            rows = tx.rows(
                "SELECT e.kind, p.name, a.name, v.number FROM run_edges e JOIN versions v ON v.id = e.version_id"
                " JOIN artifacts a ON a.id = v.artifact_id JOIN projects p ON p.id = a.project_id"
                " WHERE e.run_id = ? ORDER BY e.id",
                (found.id,),
            )
            logged, used = _by_kind(tx, rows, shown)
        return RunEdges([VersionRef(*row) for row in logged], [VersionRef(*row) for row in used])

    def of_version(self, project: str, artifact: str, number: int, *, shown: Shown = everything) -> VersionEdges:
        with self._database.read() as tx:
            (version_id,) = _find_versions(tx, [VersionRef(project, artifact, number)])
            rows = tx.rows(
                "SELECT e.kind, p.name, r.run FROM run_edges e JOIN runs r ON r.id = e.run_id"
                " JOIN projects p ON p.id = r.project_id WHERE e.version_id = ? ORDER BY e.id",
                (version_id,),
            )
            logged, used = _by_kind(tx, rows, shown)
        return VersionEdges([RunRef(*row) for row in logged], [RunRef(*row) for row in used])

    def graph(
        self,
        project: str,
        artifact: str,
        number: int,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = GRAPH_NODES_MAX,
        shown: Shown = everything,
    ) -> LineageGraph:
        with self._database.read() as tx:
            (version_id,) = _find_versions(tx, [VersionRef(project, artifact, number)])
            walk = GraphWalk(tx, version_id, shown)
            walk.run(direction, depth)
            return walk.graph(self._resources.clock())


def check_refs(versions: Sequence[VersionRef]) -> None:
    """Raises InvalidValue for a batch that is too large, and for numbers that no version can have."""
    if len(versions) > EDGES_MAX:
        raise InvalidValue(f"{len(versions)} versions at once", hint=f"note at most {EDGES_MAX}")
    for version in versions:
        VersionRef.parse(str(version))


def _by_kind(tx: Transaction, rows: Sequence[Row], shown: Shown) -> tuple[list[Row], list[Row]]:
    """What was logged and what was used, of rows that begin with a kind and a project, as far as it is shown."""
    visible = shown(tx, {row[1] for row in rows})
    logged, used = ([row[1:] for row in rows if row[0] == kind.value and row[1] in visible] for kind in EdgeKind)
    return logged, used
