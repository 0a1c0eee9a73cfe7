"""A lineage of thousands: noting an edge costs what is near it, and a graph is cut where it is farthest, the same every time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from artfs.errors import LineageCycle
from artfs.model.lineage import Direction, EdgeKind, VersionRef
from artfs.registry.database import allocate
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.runs import LineageGraph, NewRun
from artfs.wire.service import GRAPH_NODES_MAX
from tests.contract.uploading import commit
from tests.registries import OWN_REGISTRIES, own_registry

pytestmark = [pytest.mark.falsifies("lineage")]

LENGTH = 3000
EDGE_S_MAX = 0.2  # a walk of the whole chain takes twice that over PostgreSQL


@pytest.fixture(scope="module", params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlRegistry]:
    """vision/chain: each version was made from the one before, by a run of its own. Written as rows, since it is long."""
    with own_registry(request.param, tmp_path_factory.mktemp("lineage") / "registry") as opened:
        opened.projects.create("vision")
        commit(opened, "vision", "chain", {"a": b"1"})
        opened.runs.start("vision", NewRun("r0"))
        with opened.resources.database.write() as tx:
            versions, runs = allocate(tx, "versions", LENGTH), allocate(tx, "runs", LENGTH)
            edges = allocate(tx, "run_edges", 2 * LENGTH)
            (of,) = tx.rows("SELECT artifact_id, root, created_at, seq, id FROM versions")
            (project,) = tx.rows("SELECT id FROM projects")
            tx.run_many(
                "INSERT INTO versions (id, artifact_id, number, root, description, metadata, created_at, created_by, seq)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((versions + i, of[0], i + 1, of[1], "", "{}", of[2], "", of[3]) for i in range(LENGTH)),
            )
            tx.run_many(
                "INSERT INTO runs (id, project_id, run, name, notes, tags, state, run_group, job_type, config, summary,"
                " created_at, created_by, heard_of_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (runs + i, project[0], f"c{i}", "", "", "[]", "finished", "", "", "{}", "{}", of[2], "", of[2])
                    for i in range(LENGTH)
                ),
            )
            before = [of[4], *range(versions, versions + LENGTH)]
            rows = [
                row
                for i in range(LENGTH)
                for row in (
                    (edges + 2 * i, runs + i, "used", before[i]),
                    (edges + 2 * i + 1, runs + i, "logged", before[i + 1]),
                )
            ]
            tx.run_many("INSERT INTO run_edges (id, run_id, kind, version_id) VALUES (?, ?, ?, ?)", rows)
        yield opened


def version(number: int) -> VersionRef:
    return VersionRef("vision", "chain", number)


def nearest(graph: LineageGraph) -> set[int]:
    return {node.version.number for node in graph.versions}


def test_a_graph_that_is_too_large_is_cut_evenly_and_says_so(registry: SqlRegistry) -> None:
    middle = LENGTH // 2
    graph = registry.lineage.graph("vision", "chain", middle, depth=2 * LENGTH)
    assert len(graph.versions) + len(graph.runs) == GRAPH_NODES_MAX
    assert not graph.complete
    far = GRAPH_NODES_MAX // 4
    assert nearest(graph) >= set(range(middle - far + 1, middle + far))
    assert nearest(graph) <= set(range(middle - far, middle + far + 1))
    assert registry.lineage.graph("vision", "chain", middle, depth=2 * LENGTH) == graph


def test_a_graph_reaches_as_far_as_it_may_unless_less_is_asked(registry: SqlRegistry) -> None:
    up = registry.lineage.graph("vision", "chain", 500, direction=Direction.UP)
    assert up.complete
    assert nearest(up) == set(range(501))


def test_a_graph_is_whole_as_far_as_was_asked(registry: SqlRegistry) -> None:
    up = registry.lineage.graph("vision", "chain", LENGTH, direction=Direction.UP, depth=100)
    assert up.complete
    assert nearest(up) == set(range(LENGTH - 50, LENGTH + 1))
    assert len(up.edges) == 100


def test_a_cycle_over_the_whole_chain_is_found(registry: SqlRegistry) -> None:
    with pytest.raises(LineageCycle):
        registry.lineage.record("vision", "c0", EdgeKind.USED, [version(LENGTH)])
    with pytest.raises(LineageCycle):
        registry.lineage.record("vision", f"c{LENGTH - 1}", EdgeKind.LOGGED, [version(0)])


def test_an_edge_at_the_end_of_a_long_chain_costs_little(registry: SqlRegistry) -> None:
    began_s = time.monotonic()
    for i in range(20):
        registry.runs.start("vision", NewRun(f"last{i}"))
        registry.lineage.record("vision", f"last{i}", EdgeKind.USED, [version(LENGTH), version(LENGTH - 1)])
    assert time.monotonic() - began_s < 20 * EDGE_S_MAX
