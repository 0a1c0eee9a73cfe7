"""Lineage across projects, of which a caller may read some: what is hidden shows nowhere, and nothing is found through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.errors import AccessDenied, LineageCycle, ProjectNotFound, VersionNotFound
from artfs.model.access import Role, Scope
from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.registry.guarded import GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import Identity, SealRequest
from artfs.wire.runs import LineageGraph, NewRun, NewSweep, Part, RunEdges, VersionEdges
from artfs.wire.service import Registry
from tests.contract.uploading import commit, content_of, send
from tests.registries import OWN_REGISTRIES, own_registry

pytestmark = [pytest.mark.falsifies("access", "lineage")]

LOGGED, USED = EdgeKind.LOGGED, EdgeKind.USED
RAW, MADE, SECRET, LAST = (
    VersionRef(project, artifact, 0)
    for project, artifact in (("open", "raw"), ("open", "made"), ("hidden", "secret"), ("open", "last"))
)


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRegistry]:
    """open/raw → open/first → open/made → hidden/inner → hidden/secret → open/final → open/last; final used raw as well."""
    with own_registry(request.param, tmp_path / "registry") as opened:
        for project in ("open", "hidden"):
            opened.projects.create(project)
        for ref in (RAW, MADE, SECRET, LAST):
            commit(opened, ref.project, ref.artifact, {"file": str(ref).encode()})
        for run, used, logged in (
            ("open/first", RAW, MADE),
            ("hidden/inner", MADE, SECRET),
            ("open/final", SECRET, LAST),
        ):
            project, id_ = run.split("/")
            opened.runs.start(project, NewRun(id_))
            opened.lineage.record(project, id_, USED, [used])
            opened.lineage.record(project, id_, LOGGED, [logged])
        opened.lineage.record("open", "final", USED, [RAW])
        opened.access.users.create("alice")
        opened.access.members.set("open", "alice", Role.WRITER)
        yield opened


def as_alice(registry: SqlRegistry) -> Registry:
    record = next(user for user in registry.access.users.list() if user.name == "alice")
    return GuardedRegistry(registry, Identity(record, list(Scope)))


def named(graph: LineageGraph) -> tuple[set[str], set[str]]:
    return {str(node.version) for node in graph.versions}, {str(run.ref) for run in graph.runs}


def test_edges_to_what_is_hidden_are_left_out(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    assert registry.lineage.of_run("open", "final") == RunEdges([LAST], [SECRET, RAW])
    assert alice.lineage.of_run("open", "final") == RunEdges([LAST], [RAW])
    assert registry.lineage.of_version("open", "made", 0).used_by == [RunRef("hidden", "inner")]
    assert alice.lineage.of_version("open", "made", 0) == VersionEdges([RunRef("open", "first")], [])


def test_a_graph_is_not_walked_through_what_is_hidden(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    whole = named(registry.lineage.graph("open", "raw", 0))
    assert whole == ({str(ref) for ref in (RAW, MADE, SECRET, LAST)}, {"open/first", "hidden/inner", "open/final"})
    assert named(alice.lineage.graph("open", "made", 0)) == ({str(RAW), str(MADE)}, {"open/first"})
    seen = alice.lineage.graph("open", "last", 0, direction=Direction.UP)
    assert named(seen) == ({str(RAW), str(LAST)}, {"open/final"})
    assert "hidden" not in repr(seen)


def test_what_is_hidden_cannot_be_noted_and_seems_absent(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    answers = []
    for ref in (SECRET, VersionRef("nowhere", "secret", 0)):
        with pytest.raises(ProjectNotFound) as caught:
            alice.lineage.record("open", "final", USED, [RAW, ref])
        answers.append(caught.value.message.replace(ref.project, "P"))
    assert answers[0] == answers[1]
    with pytest.raises(VersionNotFound):
        alice.lineage.record("open", "final", USED, [VersionRef("open", "raw", 5)])
    with pytest.raises(ProjectNotFound):
        alice.lineage.graph("hidden", "secret", 0)


def test_a_cycle_through_what_is_hidden_is_refused_without_naming_it(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    for run, kind, ref in (("first", USED, LAST), ("final", LOGGED, MADE)):
        with pytest.raises(LineageCycle) as caught:
            alice.lineage.record("open", run, kind, [ref])
        assert "hidden" not in str(caught.value)
        assert f"open/{run}" in caught.value.message
        assert str(ref) in caught.value.message


def test_a_seal_notes_only_runs_that_the_caller_may_write_to(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    draft = alice.drafts.open("open")
    content = content_of({"new": b"file"})
    send(alice, draft, content)
    with pytest.raises(ProjectNotFound):
        alice.drafts.seal(draft.id, SealRequest("new", content.root, run="hidden/inner"))
    registry.access.members.set("hidden", "alice", Role.READER)
    with pytest.raises(AccessDenied):
        alice.drafts.seal(draft.id, SealRequest("new", content.root, run="hidden/inner"))
    assert "new" not in {artifact.name for artifact in alice.artifacts.list("open")}
    assert alice.drafts.seal(draft.id, SealRequest("new", content.root, run="open/final")).created


def test_who_contributes_on_behalf_of_a_hidden_run_does_not_give_it_away(registry: SqlRegistry) -> None:
    """Neither to others who contribute, nor does it keep them from finishing."""
    alice = as_alice(registry)
    shared = alice.shared_drafts.open("open", "gathered", "night")
    content = content_of({"part": b"of somebody else"})
    for run in ("hidden/inner", "open/first"):
        draft = registry.drafts.open("open")
        send(registry, draft, content)
        registry.shared_drafts.add(shared.id, draft.id, Part(content.root, run))
    assert [part.run for part in registry.shared_drafts.parts(shared.id)] == ["hidden/inner", "open/first"]
    parts = alice.shared_drafts.parts(shared.id)
    assert parts == [Part(content.root), Part(content.root, "open/first")]
    draft = alice.drafts.open("open")
    send(alice, draft, content)
    roots = [part.root for part in parts]
    alice.shared_drafts.finish(shared.id, draft.id, SealRequest("gathered", content.root), roots)
    both = [RunRef("hidden", "inner"), RunRef("open", "first")]
    assert registry.lineage.of_version("open", "gathered", 0).logged_by == both
    assert alice.lineage.of_version("open", "gathered", 0).logged_by == both[1:]


def test_who_starts_a_run_is_the_caller_whatever_it_says(registry: SqlRegistry) -> None:
    alice = as_alice(registry)
    assert alice.runs.start("open", NewRun("a", created_by="root@host")).created_by == "alice@host"
    assert alice.sweeps.create("open", NewSweep("s", created_by="root")).created_by == "alice"
