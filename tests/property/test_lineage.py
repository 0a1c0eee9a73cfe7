"""Random histories of runs and versions against a plain set of edges: never a cycle, and graphs are what can be reached."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from artfs.errors import LineageCycle
from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import SealRequest
from artfs.wire.runs import Edge, NewRun
from tests.contract.uploading import content_of, send
from tests.registries import own_registry
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("lineage", "model")]

CONTENT = content_of({"file": b"the same in every version"})
PROJECTS = ("vision", "audio")
Node = RunRef | VersionRef

RUNS = st.builds(RunRef, st.sampled_from(PROJECTS), st.sampled_from(["r0", "r1", "r2"]))
VERSIONS = st.builds(VersionRef, st.sampled_from(PROJECTS), st.sampled_from(["a", "b"]), st.integers(0, 2))
KINDS = st.sampled_from(EdgeKind)


def arrow(edge: Edge) -> tuple[Node, Node]:
    """The way that data flows."""
    return (edge.run, edge.version) if edge.kind is EdgeKind.LOGGED else (edge.version, edge.run)


def within(edges: set[Edge], start: Node, depth: int, direction: Direction) -> set[Node]:
    """All that is at most `depth` edges from `start`, found by trying every edge again and again."""
    found = {start}
    for _ in range(depth):
        ahead = [arrow(edge) if direction is Direction.DOWN else arrow(edge)[::-1] for edge in edges]
        found |= {target for source, target in ahead if source in found}
    return found


def has_cycle(edges: set[Edge]) -> bool:
    """Whether some node cannot be taken away by taking away, again and again, those that nothing leads to."""
    left = set(edges)
    while left:
        targets = {arrow(edge)[1] for edge in left}
        kept = {edge for edge in left if arrow(edge)[0] in targets}
        if kept == left:
            return True
        left = kept
    return False


class Lineages(RuleBasedStateMachine):
    """`edges` in the order noted, and the `runs` and `versions` there are."""

    database = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="artfs-lineage-"))
        self.stack = ExitStack()
        self.registry: SqlRegistry = self.stack.enter_context(own_registry(self.database, self.directory / "registry"))
        self.edges: dict[Edge, None] = {}
        self.runs: set[RunRef] = set()
        self.versions: set[VersionRef] = set()
        for project in PROJECTS:
            self.registry.projects.create(project)
            for artifact in ("a", "b"):
                for _ in range(3):
                    self.seal(project, artifact)
            for run in ("r0", "r1", "r2"):
                self.start(RunRef(project, run))

    def teardown(self) -> None:
        self.stack.close()
        shutil.rmtree(self.directory)

    def seal(self, project: str, artifact: str) -> None:
        draft = self.registry.drafts.open(project)
        send(self.registry, draft, CONTENT)
        request = SealRequest(artifact, CONTENT.root, keep_identical=False)
        number = self.registry.drafts.seal(draft.id, request).version.number
        self.versions.add(VersionRef(project, artifact, number))

    @rule(run=RUNS)
    def start(self, run: RunRef) -> None:
        if run not in self.runs:
            self.registry.runs.start(run.project, NewRun(run.id))
            self.runs.add(run)

    @rule(run=RUNS, kind=KINDS, versions=st.lists(VERSIONS, max_size=4))
    def record(self, run: RunRef, kind: EdgeKind, versions: list[VersionRef]) -> None:
        """All or none, and none exactly when there would be a cycle."""
        versions = [version for version in versions if version in self.versions]
        if run not in self.runs:
            return
        wanted = {**self.edges, **{Edge(kind, run, version): None for version in versions}}
        if has_cycle(set(wanted)):
            with pytest.raises(LineageCycle):
                self.registry.lineage.record(run.project, run.id, kind, versions)
        else:
            self.registry.lineage.record(run.project, run.id, kind, versions)
            self.edges = wanted

    @rule(project=st.sampled_from(PROJECTS), artifact=st.sampled_from(["a", "b"]), run=RUNS)
    def seal_again(self, project: str, artifact: str, run: RunRef) -> None:
        """Content that the newest version has: its logger is noted unless it follows from that."""
        newest = max((v.number for v in self.versions if (v.project, v.artifact) == (project, artifact)), default=None)
        if newest is None or run not in self.runs:
            return
        draft = self.registry.drafts.open(project)
        send(self.registry, draft, CONTENT)
        self.registry.drafts.seal(draft.id, SealRequest(artifact, CONTENT.root, run=str(run)))
        wanted = {**self.edges, Edge(EdgeKind.LOGGED, run, VersionRef(project, artifact, newest)): None}
        if not has_cycle(set(wanted)):
            self.edges = wanted

    @rule(run=RUNS)
    def delete_run(self, run: RunRef) -> None:
        if run in self.runs:
            self.registry.runs.delete(run.project, run.id)
            self.runs.discard(run)
            self.edges = {edge: None for edge in self.edges if edge.run != run}

    @rule(version=VERSIONS)
    def delete_version(self, version: VersionRef) -> None:
        if version in self.versions:
            self.registry.versions.delete(version.project, version.artifact, [version.number], delete_aliases=True)
            self.versions.discard(version)
            self.edges = {edge: None for edge in self.edges if edge.version != version}

    @rule(version=VERSIONS, direction=st.sampled_from(Direction), depth=st.integers(0, 8))
    def graph(self, version: VersionRef, direction: Direction, depth: int) -> None:
        if version not in self.versions:
            return
        graph = self.registry.lineage.graph(
            version.project, version.artifact, version.number, direction=direction, depth=depth
        )
        directions = [Direction.UP, Direction.DOWN] if direction is Direction.BOTH else [direction]
        nodes = {node for one in directions for node in within(set(self.edges), version, depth, one)}
        assert graph.complete
        assert {node.version for node in graph.versions} | {run.ref for run in graph.runs} == nodes
        assert set(graph.edges) == {edge for edge in self.edges if edge.run in nodes and edge.version in nodes}
        assert len(graph.edges) == len(set(graph.edges))

    @invariant()
    def every_edge_is_told_from_both_sides(self) -> None:
        tried("a step of a random history of runs and versions")
        assert not has_cycle(set(self.edges))
        for run in self.runs:
            told = self.registry.lineage.of_run(run.project, run.id)
            assert told.logged == list(self.versions_of(run, EdgeKind.LOGGED))
            assert told.used == list(self.versions_of(run, EdgeKind.USED))
        for version in self.versions:
            found = self.registry.lineage.of_version(version.project, version.artifact, version.number)
            by = {kind: [e.run for e in self.edges if (e.kind, e.version) == (kind, version)] for kind in EdgeKind}
            assert (found.logged_by, found.used_by) == (by[EdgeKind.LOGGED], by[EdgeKind.USED])

    def versions_of(self, run: RunRef, kind: EdgeKind) -> Iterator[VersionRef]:
        return (edge.version for edge in self.edges if (edge.kind, edge.run) == (kind, run))


class PostgresLineages(Lineages):
    """The same over PostgreSQL."""

    database = "postgres"


def run_machine(examples: int, machine: type[Lineages] = Lineages) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))


def test_random_lineages_are_acyclic_and_graphs_are_reachability() -> None:
    run_machine(25)


@pytest.mark.postgres
def test_random_lineages_over_postgres_are_acyclic_and_graphs_are_reachability() -> None:
    run_machine(8, PostgresLineages)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_many_random_lineages_are_acyclic_and_graphs_are_reachability() -> None:
    run_machine(1000)
