"""How do I best log models from runs in a sweep? How do I find an artifact from the best run in a sweep?"""

from __future__ import annotations

from pathlib import Path

import pytest

import artfs
from artfs.api.session import session
from artfs.wire.runs import NewSweep
from tests.faq.worlds import World, files_in, maker

ACCURACY = {"first": 0.7, "second": 0.9, "third": 0.8}


@pytest.fixture
def sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A sweep of three runs that told an accuracy, and one that did not; each logged a model."""
    api = artfs.Api()
    session({}).registry.projects.create("project")
    session({}).registry.sweeps.create("project", NewSweep(id="sweep_id"))
    assert api.sweep("project/sweep_id").id == "sweep_id"
    monkeypatch.setenv("ARTFS_SWEEP_ID", "sweep_id")
    for id in (*ACCURACY, "unlucky"):
        with artfs.init(project="project", id=id) as run:
            if id in ACCURACY:
                run.log({"val_acc": 0.1})
                run.log({"val_acc": ACCURACY[id]})
            model = artfs.Artifact(name="sweep_name", type="model")
            with model.new_file("weights") as file:
                file.write(f"weights of {id}")
            run.log_artifact(model)
    monkeypatch.delenv("ARTFS_SWEEP_ID")
    return world


def test_an_artifact_for_the_sweep_has_a_version_for_each_run(sweep: World) -> None:
    sweep.sample("sweep_model.py")
    versions = artfs.Api().artifact_versions("model", "project/sweep_name")
    made = {version.name: maker(version).id for version in versions}
    assert made == {
        "sweep_name:v0": "first",
        "sweep_name:v1": "second",
        "sweep_name:v2": "third",
        "sweep_name:v3": "unlucky",
    }
    assert {run.id for run in artfs.Api().sweep("project/sweep_id").runs} == set(made.values())


def test_the_sample_finds_the_artifacts_of_the_best_run(sweep: World) -> None:
    printed = sweep.sample("best_run.py").splitlines()
    assert len(printed) == 1
    assert files_in(sweep.directory / Path(printed[0])) == {"weights": b"weights of second"}


@pytest.mark.usefixtures("sweep")
def test_a_sweep_finds_its_best_run_by_itself() -> None:
    best = artfs.Api().sweep("project/sweep_id").best_run("-summary.val_acc")
    assert best is not None
    assert [made.name for made in best.logged_artifacts()] == ["sweep_name:v1"]
