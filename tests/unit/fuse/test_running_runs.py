"""Which run a process belongs to, by its ancestry, and the records of runs under way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from artfs.fuse.process_records import ProcessFacts, read_process
from artfs.fuse.running_runs import REMEMBERED_S, Ancestry, RunningRun, RunningRuns
from artfs.model.lineage import RunRef

pytestmark = [pytest.mark.falsifies("lineage")]


class Machine:
    """Processes as /proc would show them, and a clock."""

    def __init__(self, **parents: int) -> None:
        self.processes = {int(name[1:]): ProcessFacts(parent, int(name[1:])) for name, parent in parents.items()}
        self.now_s = 0.0
        self.reads = 0
        self.ancestry = Ancestry(self.read, lambda: self.now_s)

    def read(self, pid: int) -> ProcessFacts | None:
        self.reads += 1
        return self.processes.get(pid)

    def run(self, pid: int, name: str) -> RunningRun:
        return RunningRun(pid, pid, RunRef("p", name), "registry")


def test_descendants_belong_to_the_nearest_run_and_nobody_else_does() -> None:
    machine = Machine(p10=1, p11=10, p12=11, p20=12, p21=20, p30=1)
    machine.ancestry.set_running([machine.run(10, "outer"), machine.run(20, "inner")])
    found = {pid: machine.ancestry.run_of(pid) for pid in (0, 10, 11, 12, 20, 21, 30, 99)}
    outer, inner = RunRef("p", "outer"), RunRef("p", "inner")
    assert found == {0: None, 10: None, 11: outer, 12: outer, 20: outer, 21: inner, 30: None, 99: None}


def test_the_first_process_of_a_container_may_be_a_run() -> None:
    machine = Machine(p1=0, p5=1)
    machine.ancestry.set_running([machine.run(1, "r")])
    assert machine.ancestry.run_of(5) == RunRef("p", "r")
    assert machine.ancestry.run_of(1) is None


def test_a_later_process_with_the_number_of_a_dead_run_is_no_run() -> None:
    machine = Machine(p10=1, p11=10)
    machine.ancestry.set_running([RunningRun(10, 9, RunRef("p", "dead"), "registry")])
    assert machine.ancestry.run_of(11) is None


def test_what_is_known_is_not_read_again_for_a_second() -> None:
    machine = Machine(p10=1, p11=10, p12=11, p13=12)
    machine.ancestry.set_running([machine.run(10, "r")])
    assert machine.ancestry.run_of(13) == RunRef("p", "r")
    reads = machine.reads
    assert machine.ancestry.run_of(13) == machine.ancestry.run_of(12) == RunRef("p", "r")
    assert machine.reads == reads
    machine.processes[14] = ProcessFacts(13, 14)
    assert machine.ancestry.run_of(14) == RunRef("p", "r")
    assert machine.reads == reads + 1
    machine.now_s = 2 * REMEMBERED_S
    machine.processes[13] = ProcessFacts(1, 99)
    assert machine.ancestry.run_of(13) is None


def test_an_ancestor_that_ends_on_the_way_leaves_its_children_to_the_run() -> None:
    machine = Machine(p10=1, p11=10, p12=11)

    def read(pid: int) -> ProcessFacts | None:
        if pid == 11:
            machine.processes.pop(11, None)
            machine.processes[12] = ProcessFacts(10, 12)
        return machine.read(pid)

    ancestry = Ancestry(read, lambda: 0.0)
    ancestry.set_running([machine.run(10, "r")])
    assert ancestry.run_of(12) == RunRef("p", "r")


def test_records_are_listed_while_their_process_lives(tmp_path: Path) -> None:
    runs = RunningRuns(tmp_path)
    child = subprocess.Popen(["sleep", "60"])
    try:
        facts = [read_process(pid) for pid in (os.getpid(), child.pid)]
        mine, its = (
            RunningRun(pid, fact.started_ticks, RunRef("p", name), "r")
            for pid, fact, name in zip((os.getpid(), child.pid), facts, ("mine", "its"), strict=True)
            if fact is not None
        )
        runs.write(mine)
        runs.write(its)
        assert sorted(r.run.id for r in runs.list()) == ["its", "mine"]
    finally:
        child.kill()
        child.wait(10)
    assert runs.list() == [mine]
    assert len(list((tmp_path / "runs").iterdir())) == 1, "the record of the dead is gone"
    runs.remove(mine)
    assert runs.list() == []
