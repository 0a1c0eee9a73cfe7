"""The part of the lineage graph around a run, put together from those around the versions that it used and logged."""

from __future__ import annotations

from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.wire.runs import Edge, LineageGraph, LineageNode, RunRecord
from artfs.wire.service import GRAPH_NODES_MAX, Registry


def graph_of_run(registry: Registry, run: RunRef, direction: Direction, depth: int) -> LineageGraph:
    """What is within `depth` edges of a run: upwards what it used and that was made from, downwards what it led to.

    Raises RunNotFound.
    """
    record = registry.runs.get(run.project, run.id)
    of_run = registry.lineage.of_run(run.project, run.id)
    versions: dict[VersionRef, LineageNode] = {}
    runs: dict[RunRef, RunRecord] = {run: record}
    edges: dict[Edge, None] = {}
    complete = True
    sides = ((Direction.UP, EdgeKind.USED, of_run.used), (Direction.DOWN, EdgeKind.LOGGED, of_run.logged))
    for side, kind, beside in sides:
        if depth < 1 or direction not in (side, Direction.BOTH):
            continue
        for version in beside:
            if len(versions) + len(runs) >= GRAPH_NODES_MAX:
                complete = False
                break
            edges[Edge(kind, run, version)] = None
            if version not in versions or depth > 1:
                part = registry.lineage.graph(*_path(version), direction=side, depth=depth - 1)
                versions.update((node.version, node) for node in part.versions)
                runs.update((found.ref, found) for found in part.runs)
                edges.update(dict.fromkeys(part.edges))
                complete = complete and part.complete
    return LineageGraph(list(versions.values()), list(runs.values()), list(edges), complete)


def _path(version: VersionRef) -> tuple[str, str, int]:
    return version.project, version.artifact, version.number
