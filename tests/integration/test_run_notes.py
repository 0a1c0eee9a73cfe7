"""What `artfs run` records beside the command, of a registry that comes and goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.cli.noting import RunNotes
from artfs.fuse.observing import Observed
from artfs.model.lineage import EdgeKind, RunRef, RunState, VersionRef
from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.runs import NewRun
from tests.contract.uploading import commit
from tests.faults.faulty_registry import DEAD, Faults, faulty

pytestmark = [pytest.mark.falsifies("lineage", "no-hang")]

RUN = RunRef("p", "r")
A, B, OUT = VersionRef("p", "a", 0), VersionRef("p", "b", 0), VersionRef("p", "out", 0)
WAIT_S = 10.0


class Place:
    """A registry with three versions and a run, behind faults, and what mounts say that they saw."""

    def __init__(self, directory: Path) -> None:
        self.registry = EmbeddedRegistry(directory / "registry")
        self.faults = Faults(directory / "fault")
        self.registry.projects.create("p")
        for ref in (A, B, OUT):
            commit(self.registry, "p", ref.artifact, {"x": ref.artifact.encode()})
        self.registry.runs.start("p", NewRun(id="r"))
        self.seen = Observed()

    def notes(self, last_tries_s: float = WAIT_S) -> RunNotes:
        return RunNotes(faulty(self.registry, self.faults), RUN, lambda: self.seen, last_tries_s=last_tries_s)

    def edges(self) -> tuple[set[VersionRef], set[VersionRef]]:
        found = self.registry.lineage.of_run("p", "r")
        return set(found.used), set(found.logged)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.registry.close()


def test_what_mounts_saw_is_recorded_and_the_run_ends_as_its_command_did(place: Place) -> None:
    place.seen = Observed(used={A, B}, logged={OUT})
    outcome = place.notes().finish(3)
    assert place.edges() == ({A, B}, {OUT})
    assert (set(outcome.edges.used), set(outcome.edges.logged), outcome.error) == ({A, B}, {OUT}, "")
    ended = place.registry.runs.get("p", "r")
    assert (ended.state, ended.exit_code) == (RunState.FAILED, 3)


def test_edges_are_recorded_while_the_command_runs_and_only_once(place: Place) -> None:
    notes = place.notes()
    with notes.kept():
        place.seen = Observed(used={A})
        deadline = time.monotonic() + WAIT_S
        while place.edges() != ({A}, set()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    notes.finish(0)
    assert place.faults.calls["lineage.record"] == 1
    assert place.faults.calls["runs.log"] >= 1, "it says that the run lives"


def test_a_registry_that_was_away_meanwhile_gets_everything(place: Place) -> None:
    notes = place.notes()
    place.seen = Observed(used={A})
    notes.look()
    place.faults.set(DEAD)
    place.seen = Observed(used={A, B})
    with notes.kept():
        deadline = time.monotonic() + WAIT_S
        while place.faults.calls["lineage.record"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert place.edges() == ({A}, set())
    place.faults.set("")
    assert notes.finish(0).error == ""
    assert place.edges() == ({A, B}, set())


def test_what_could_not_be_recorded_at_the_end_is_told(place: Place) -> None:
    place.seen = Observed(used={A}, logged={OUT})
    place.faults.set(DEAD)
    outcome = place.notes(last_tries_s=0.1).finish(0)
    assert outcome.missing == {EdgeKind.USED: [A], EdgeKind.LOGGED: [OUT]}
    assert "cannot reach the registry" in outcome.error
    assert place.edges() == (set(), set())


def test_one_version_that_cannot_be_recorded_does_not_keep_others_out(place: Place) -> None:
    """A deleted one, and one that the run itself made."""
    place.registry.lineage.record("p", "r", EdgeKind.LOGGED, [OUT])
    place.registry.versions.delete("p", "b", [0], delete_aliases=True)
    place.seen = Observed(used={A, B, OUT})
    outcome = place.notes().finish(0)
    assert place.edges() == ({A}, {OUT})
    assert outcome.error == ""
