"""How do I log an artifact to an existing run? How do I walk the graph of artifacts and of runs that logged or used them?"""

from __future__ import annotations

import json
from typing import Any

import pytest

import artfs
from tests.faq.worlds import World, maker


def log(run: Any, name: str, text: str, *, type: str = "dataset", aliases: list[str] | None = None) -> None:
    artifact = artfs.Artifact(name, type=type)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    run.log_artifact(artifact, aliases=aliases or [])


def names(artifacts: Any) -> list[str]:
    return [artifact.name for artifact in artifacts]


def ids(runs: Any) -> list[str]:
    return [run.id for run in runs]


def test_an_artifact_becomes_the_output_of_a_previously_logged_run(world: World) -> None:
    with artfs.init(id="existing_run_id", config={"lr": 0.1}) as run:
        log(run, "earlier", "one")
        project = run.project
    world.write({"my_data/file.txt": b"my data"})
    world.sample("existing_run.py")

    api = artfs.Api()
    artifact = api.artifact("artifact_name:latest")
    assert artifact.type == "artifact_type"
    assert maker(artifact).id == "existing_run_id"
    assert ids(api.runs(project)) == ["existing_run_id"]
    existing = api.run(f"{project}/existing_run_id")
    assert (existing.state, existing.config["lr"]) == ("finished", 0.1)
    assert sorted(names(existing.logged_artifacts())) == ["artifact_name:v0", "earlier:v0"]


def test_resuming_starts_a_run_that_was_not_there(world: World) -> None:
    world.write({"my_data/file.txt": b"my data"})
    world.sample("existing_run.py")
    assert maker(artfs.Api().artifact("artifact_name:latest")).id == "existing_run_id"


@pytest.fixture
def graph(world: World) -> World:
    """raw -> prepare (run_id) -> artifact -> train -> model; another run looks at the artifact only."""
    with artfs.init(project="project", id="collect") as run:
        log(run, "raw", "raw")
    with artfs.init(project="project", id="run_id") as run:
        run.use_artifact("raw:latest").download()
        log(run, "artifact", "prepared", aliases=["alias"])
    with artfs.init(project="project", id="train") as run:
        run.use_artifact("artifact:alias").download()
        log(run, "model", "weights", type="model")
    with artfs.init(project="project", id="look") as run:
        run.use_artifact("artifact:alias")
    return world


def test_the_graph_is_walked_from_an_artifact(graph: World) -> None:
    found = graph.sample(
        "graph_from_artifact.py",
        then="""
import json
print(json.dumps({
    "producer": producer_run.id,
    "consumers": [run.id for run in consumer_runs],
    "next": [artifact.name for artifact in next_artifacts],
    "previous": [artifact.name for artifact in previous_artifacts],
}))""",
    )
    assert json.loads(found) == {
        "producer": "run_id",
        "consumers": ["train", "look"],
        "next": ["model:v0"],
        "previous": ["raw:v0"],
    }


def test_the_graph_is_walked_from_a_run(graph: World) -> None:
    found = graph.sample(
        "graph_from_run.py",
        then="""
import json
print(json.dumps({
    "produced": [artifact.name for artifact in produced_artifacts],
    "consumed": [artifact.name for artifact in consumed_artifacts],
    "earlier": earlier_run.id,
    "consumers": [run.id for run in consumer_runs],
}))""",
    )
    assert json.loads(found) == {
        "produced": ["artifact:v0"],
        "consumed": ["raw:v0"],
        "earlier": "collect",
        "consumers": ["train", "look"],
    }
