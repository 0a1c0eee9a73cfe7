"""What a mount notes of runs: which processes belong to one, and which versions they opened."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from artfs.fuse.control import ask
from artfs.fuse.process_records import process_started_ticks
from artfs.fuse.running_runs import RunningRun
from artfs.model.lineage import RunRef, VersionRef
from tests.contract.uploading import Tree
from tests.mount.mounting import Machine, Mount

pytestmark = [pytest.mark.falsifies("lineage")]

SAME: Tree = {"x": b"same", "sub": {"y": b"same too"}}
PROGRAM_S = 30
PR_SET_CHILD_SUBREAPER = 36


class Run:
    """This process as the root of a run, as `artfs run` is one."""

    def __init__(self, machine: Machine, name: str) -> None:
        with machine.registry() as registry:
            identity = registry.identity
        ticks = process_started_ticks(os.getpid())
        assert ticks is not None
        self.running = RunningRun(os.getpid(), ticks, RunRef("p", name), identity)

    def told(self, mount: Mount) -> dict[str, Any]:
        record = mount.records.find(mount.path)
        assert record is not None
        return ask(record, "track", run=str(self.running.run))

    def used(self, mount: Mount) -> set[str]:
        told = self.told(mount)
        assert told["unknown"] == 0
        return {str(VersionRef(**used)) for used in told["used"]}


@contextmanager
def run_of(machine: Machine, *mounts: Mount, name: str = "r1") -> Iterator[Run]:
    run = Run(machine, name)
    machine.records.runs.write(run.running)
    try:
        for mount in mounts:
            run.told(mount)
        yield run
    finally:
        machine.records.runs.remove(run.running)


@contextmanager
def subreaper() -> Iterator[None]:
    """Whom children of this process leave behind is its child meanwhile."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def shell(script: str, cwd: Path) -> str:
    done = subprocess.run(
        ["bash", "-ec", script], cwd=cwd, capture_output=True, text=True, timeout=PROGRAM_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def two(machine: Machine) -> Machine:
    """p/a with two versions that share all files but one."""
    machine.put("p/a", {**SAME, "z": b"0"}, "best")
    machine.put("p/a", {**SAME, "z": b"1"})
    return machine


def test_equal_files_of_two_versions_are_told_apart(two: Machine) -> None:
    with two.mount() as mount, run_of(two, mount) as run:
        shell("cat p/a/v0/x", mount.path)
        assert run.used(mount) == {"p/a:v0"}
        shell("cat p/a/v1/sub/y", mount.path)
        assert run.used(mount) == {"p/a:v0", "p/a:v1"}


def test_what_the_kernel_knew_before_the_run_began_misleads_nobody(two: Machine) -> None:
    with two.mount() as mount:
        everything = shell("cat p/a/v0/x p/a/best/z p/a/v1/x p/a/v1/sub/y; ls -lR p/a", mount.path)
        with open(mount / "p/a/v0/sub/y", "rb"), open(mount / "p/a/v1/x", "rb"), run_of(two, mount) as run:
            shell("cat p/a/v1/x p/a/v1/sub/y", mount.path)
            assert run.used(mount) == {"p/a:v1"}
        assert shell("cat p/a/v0/x p/a/best/z p/a/v1/x p/a/v1/sub/y; ls -lR p/a", mount.path) == everything


def test_looking_is_not_using_and_others_are_not_the_run(two: Machine) -> None:
    with two.mount() as mount, run_of(two, mount) as run:
        shell("ls -lR p; find p; stat p/a/v0/x; getfattr -n user.artfs.sha256 p/a/v0/x", mount.path)
        (mount / "p/a/v1/x").read_bytes()  # the root of a run only watches it
        assert run.used(mount) == set()


def test_an_alias_is_the_version_that_it_means(two: Machine) -> None:
    with two.mount() as mount, run_of(two, mount) as run:
        shell("cat p/a/best/x", mount.path)
        assert run.used(mount) == {"p/a:v0"}


def test_threads_and_their_children_belong_to_the_run(two: Machine) -> None:
    program = (
        "import threading, subprocess\n"
        "t = threading.Thread(target=lambda: (open('p/a/v0/x').read(), subprocess.run(['cat', 'p/a/v1/x'])))\n"
        "t.start(); t.join()"
    )
    with two.mount() as mount, run_of(two, mount) as run:
        subprocess.run([sys.executable, "-c", program], cwd=mount.path, check=True, timeout=PROGRAM_S)
        assert run.used(mount) == {"p/a:v0", "p/a:v1"}


def test_a_mount_that_begins_during_a_run_tells_versions_apart_at_once(two: Machine) -> None:
    with run_of(two) as run, two.mount() as mount:
        shell("cat p/a/v1/x", mount.path)
        assert run.used(mount) == {"p/a:v1"}


def test_hard_links_into_a_draft_use_and_a_commit_logs(two: Machine) -> None:
    with two.mount() as mount, run_of(two, mount) as run:
        shell("cp -al p/a/v0/sub p/a/.staging/next; mv p/a/.staging/next p/a/linked", mount.path)
        assert run.used(mount) == {"p/a:v0"}
        assert [VersionRef(**logged) for logged in run.told(mount)["logged"]] == [VersionRef("p", "a", 2)]


def test_files_of_one_version_stay_one_inode_under_all_its_names(two: Machine) -> None:
    with two.mount() as mount, run_of(two, mount):
        a = mount / "p/a"
        assert (a / "v0/x").stat().st_ino == (a / "best/x").stat().st_ino
        assert (a / "v0/x").stat().st_ino != (a / "v1/x").stat().st_ino


def test_what_a_run_leaves_behind_belongs_to_it_as_long_as_it_runs(two: Machine, tmp_path: Path) -> None:
    with two.mount() as mount, run_of(two, mount) as run, subreaper():
        waiter = (
            f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; cat p/a/v1/x > {tmp_path}/out; echo > {tmp_path}/done"
        )
        shell(f"setsid nohup bash -c '{waiter}' >{tmp_path}/log 2>&1 & disown", mount.path)
        (tmp_path / "go").touch()
        os.waitpid(-1, 0)
        assert (tmp_path / "done").exists()
        assert run.used(mount) == {"p/a:v1"}
