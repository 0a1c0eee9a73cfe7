"""What runs logged and used, and the graph of it, on every registry."""

from __future__ import annotations

import pytest

from artfs.errors import (
    ArtifactNotFound,
    InvalidValue,
    LineageCycle,
    ProjectNotFound,
    RunNotFound,
    VersionNotFound,
)
from artfs.model.lineage import Direction, EdgeKind, RunRef, VersionRef
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import Edge, NewRun, RunEdges, VersionEdges
from artfs.wire.service import EDGES_MAX, Registry
from tests.contract.uploading import commit, content_of, send

pytestmark = [pytest.mark.falsifies("lineage")]

LOGGED, USED = EdgeKind.LOGGED, EdgeKind.USED


def version(text: str) -> VersionRef:
    return VersionRef.parse(f"vision/{text}")


def run(id_: str) -> RunRef:
    return RunRef("vision", id_)


def seal(registry: Registry, artifact: str, content: bytes, run: str, project: str = "vision") -> SealResult:
    """Make a version with one file, logged by `run`."""
    draft = registry.drafts.open(project)
    made = content_of({"file": content})
    send(registry, draft, made)
    return registry.drafts.seal(draft.id, SealRequest(artifact, made.root, run=run))


@pytest.fixture
def pipeline(registry: Registry) -> Registry:
    """raw:v0 → prepare → train:v0 and test:v0; train:v0 → fit → model:v0; model:v0 and test:v0 → evaluate."""
    commit(registry, "vision", "raw", {"a": b"1"})
    for id_ in ("prepare", "fit", "evaluate"):
        registry.runs.start("vision", NewRun(id_, config={"x": 1}))
    registry.lineage.record("vision", "prepare", USED, [version("raw:v0")])
    seal(registry, "train", b"train", "vision/prepare")
    seal(registry, "test", b"test", "vision/prepare")
    registry.lineage.record("vision", "fit", USED, [version("train:v0")])
    seal(registry, "model", b"model", "vision/fit")
    registry.lineage.record("vision", "evaluate", USED, [version("model:v0"), version("test:v0")])
    return registry


def test_edges_are_told_from_either_side_in_the_order_noted(pipeline: Registry) -> None:
    lineage = pipeline.lineage
    assert lineage.of_run("vision", "prepare") == RunEdges(
        [version("train:v0"), version("test:v0")], [version("raw:v0")]
    )
    assert lineage.of_run("vision", "evaluate") == RunEdges([], [version("model:v0"), version("test:v0")])
    assert lineage.of_version("vision", "train", 0) == VersionEdges([run("prepare")], [run("fit")])
    assert lineage.of_version("vision", "raw", 0) == VersionEdges([], [run("prepare")])


def test_noting_an_edge_again_changes_nothing(pipeline: Registry) -> None:
    before = pipeline.lineage.of_run("vision", "evaluate")
    pipeline.lineage.record("vision", "evaluate", USED, [version("test:v0"), version("test:v0"), version("model:v0")])
    assert pipeline.lineage.of_run("vision", "evaluate") == before
    pipeline.lineage.record("vision", "evaluate", USED, [])


def test_all_edges_of_a_call_are_noted_or_none(pipeline: Registry) -> None:
    before = pipeline.lineage.of_run("vision", "evaluate")
    for wrong, error in (
        (version("raw:v7"), VersionNotFound),
        (version("nothing:v0"), ArtifactNotFound),
        (VersionRef("nowhere", "raw", 0), ProjectNotFound),
    ):
        with pytest.raises(error):
            pipeline.lineage.record("vision", "evaluate", USED, [version("raw:v0"), wrong])
    with pytest.raises(LineageCycle):
        pipeline.lineage.record("vision", "prepare", USED, [version("test:v0"), version("raw:v0")])
    assert pipeline.lineage.of_run("vision", "evaluate") == before
    with pytest.raises(InvalidValue):
        pipeline.lineage.record("vision", "evaluate", USED, [version("raw:v0")] * (EDGES_MAX + 1))


def test_what_is_absent_is_told(pipeline: Registry) -> None:
    with pytest.raises(RunNotFound):
        pipeline.lineage.record("vision", "none", USED, [version("raw:v0")])
    with pytest.raises(RunNotFound):
        pipeline.lineage.of_run("vision", "none")
    with pytest.raises(VersionNotFound):
        pipeline.lineage.of_version("vision", "raw", 1)
    with pytest.raises(VersionNotFound):
        pipeline.lineage.graph("vision", "raw", 1)
    with pytest.raises(ArtifactNotFound):
        pipeline.lineage.graph("vision", "none", 0)


@pytest.mark.parametrize(
    ("id_", "kind", "ref"),
    [
        ("prepare", USED, "train:v0"),  # what it made itself
        ("prepare", USED, "model:v0"),  # what follows from that
        ("prepare", LOGGED, "raw:v0"),  # what it used
        ("evaluate", LOGGED, "test:v0"),
        ("evaluate", LOGGED, "raw:v0"),  # from which follows what it used
        ("fit", LOGGED, "raw:v0"),
    ],
)
def test_a_version_never_follows_from_itself(pipeline: Registry, id_: str, kind: EdgeKind, ref: str) -> None:
    before = pipeline.lineage.graph("vision", "raw", 0)
    with pytest.raises(LineageCycle) as caught:
        pipeline.lineage.record("vision", id_, kind, [version(ref)])
    assert f"vision/{id_}" in caught.value.message
    assert f"vision/{ref}" in caught.value.message
    assert pipeline.lineage.graph("vision", "raw", 0) == before


def test_a_graph_has_what_is_above_and_below_and_its_edges(pipeline: Registry) -> None:
    def named(direction: Direction, depth: int = 100) -> tuple[list[str], list[str]]:
        graph = pipeline.lineage.graph("vision", "train", 0, direction=direction, depth=depth)
        assert graph.complete
        return [node.version.artifact for node in graph.versions], [one.id for one in graph.runs]

    assert named(Direction.UP) == (["raw", "train"], ["prepare"])
    assert named(Direction.DOWN) == (["model", "train"], ["fit", "evaluate"])
    assert named(Direction.BOTH) == (["model", "raw", "train"], ["prepare", "fit", "evaluate"])
    assert named(Direction.BOTH, 0) == (["train"], [])
    assert named(Direction.BOTH, 1) == (["train"], ["prepare", "fit"])
    assert named(Direction.DOWN, 2) == (["model", "train"], ["fit"])


def test_a_graph_says_of_its_nodes_what_a_drawing_needs(pipeline: Registry) -> None:
    pipeline.aliases.move("vision", "train", "best", 0)
    graph = pipeline.lineage.graph("vision", "train", 0)
    node = next(node for node in graph.versions if node.version.artifact == "train")
    assert (node.type, node.aliases) == ("dataset", ["best", "latest"])
    assert [(one.config, one.summary) for one in graph.runs] == [({}, {})] * 3
    assert set(graph.edges) == {
        Edge(USED, run("prepare"), version("raw:v0")),
        Edge(LOGGED, run("prepare"), version("train:v0")),
        Edge(USED, run("fit"), version("train:v0")),
        Edge(LOGGED, run("fit"), version("model:v0")),
        Edge(USED, run("evaluate"), version("model:v0")),
    }
    assert pipeline.lineage.graph("vision", "train", 0) == graph


def test_edges_go_with_the_run_and_with_the_version(pipeline: Registry) -> None:
    pipeline.runs.delete("vision", "fit")
    assert pipeline.lineage.of_version("vision", "model", 0).logged_by == []
    assert pipeline.lineage.of_version("vision", "train", 0).used_by == []
    pipeline.versions.delete("vision", "test", [0], delete_aliases=True)
    assert pipeline.lineage.of_run("vision", "prepare").logged == [version("train:v0")]
    assert pipeline.lineage.of_run("vision", "evaluate").used == [version("model:v0")]


def test_a_run_uses_versions_of_other_projects(pipeline: Registry) -> None:
    pipeline.projects.create("audio")
    pipeline.runs.start("audio", NewRun("mix"))
    pipeline.lineage.record("audio", "mix", USED, [version("model:v0"), version("raw:v0")])
    sealed = seal(pipeline, "song", b"la", "audio/mix", project="audio")
    graph = pipeline.lineage.graph("audio", "song", 0, direction=Direction.UP)
    assert {str(node.version) for node in graph.versions} == {
        "audio/song:v0",
        "vision/model:v0",
        "vision/raw:v0",
        "vision/train:v0",
    }
    ref = VersionRef("audio", "song", sealed.version.number)
    with pytest.raises(LineageCycle):
        pipeline.lineage.record("vision", "prepare", USED, [ref])
    pipeline.versions.delete("audio", "song", [0], delete_aliases=True)
    pipeline.artifacts.delete("audio", "song")
    pipeline.projects.delete("audio")
    assert pipeline.lineage.of_version("vision", "model", 0).used_by == [run("evaluate")]


def test_a_seal_notes_its_run_in_the_same_transaction(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    draft = registry.drafts.open("vision")
    made = content_of({"file": b"1"})
    send(registry, draft, made)
    with pytest.raises(RunNotFound):
        registry.drafts.seal(draft.id, SealRequest("data", made.root, run="vision/none"))
    assert registry.artifacts.list("vision") == []
    request = SealRequest("data", made.root, run="vision/r1")
    first = registry.drafts.seal(draft.id, request)
    assert registry.drafts.seal(draft.id, request) == first
    assert registry.lineage.of_run("vision", "r1").logged == [version("data:v0")]


def test_identical_content_notes_another_logger(registry: Registry) -> None:
    for id_ in ("r1", "r2"):
        registry.runs.start("vision", NewRun(id_))
    assert seal(registry, "data", b"1", "vision/r1").created
    assert not seal(registry, "data", b"1", "vision/r2").created
    assert registry.lineage.of_version("vision", "data", 0).logged_by == [run("r1"), run("r2")]


def test_identical_content_that_its_run_used_is_not_noted_as_logged_by_it(pipeline: Registry) -> None:
    result = seal(pipeline, "train", b"train", "vision/fit")
    assert not result.created
    assert pipeline.lineage.of_version("vision", "train", 0) == VersionEdges([run("prepare")], [run("fit")])
