"""`artfs run` finds out what a program reads and makes: exactly that, whatever runs beside it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.pipelines import OTHER, PIPELINES, RAW, TOOL, Pipeline
from tests.acceptance.user import ARTFS, User, wait_until
from tests.contract.uploading import Tree, commit

pytestmark = [pytest.mark.falsifies("lineage"), pytest.mark.fuse, pytest.mark.serial]

AT_ONCE = 4
PIPELINE_S = 60


@dataclass(frozen=True)
class Lab:
    """A user with a mount and something to read."""

    user: User
    mount: Path

    def run(self, name: str, pipeline: Pipeline) -> dict[str, Any]:
        """What `artfs run --json` says at the end, with what the script printed as `stdout`."""
        out = "out-" + "".join(c if c.isalnum() else "-" for c in name)
        place = self.user.home / out
        place.mkdir()
        environment = self.user.environment(M=str(self.mount), T=str(place), OUT=f"data/{out}")
        environment["PATH"] = f"{ARTFS.parent}:{environment['PATH']}"
        done = subprocess.run(
            [ARTFS, "run", "-p", "lab", "--name", name, "--json", "--", "bash", "-euc", pipeline.script],
            cwd=place if pipeline.cwd is None else self.mount / pipeline.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PIPELINE_S,
            check=False,
        )
        assert done.returncode == pipeline.exit_code, f"{name}: {done.stdout}{done.stderr}"
        *printed, told = done.stdout.splitlines()
        return {**json.loads(told), "stdout": printed, "stderr": done.stderr, "OUT": f"data/{out}"}


def put(user: User, artifact: str, tree: Tree, *aliases: str) -> None:
    registry = EmbeddedRegistry(user.registry)
    try:
        project, name = artifact.split("/")
        registry.projects.create(project, exist_ok=True)
        commit(registry, project, name, tree, *aliases, now_ns=time.time_ns())
    finally:
        registry.close()


@pytest.fixture
def lab(user: User) -> Iterator[Lab]:
    put(user, "data/raw", RAW[0], "first", "moving")
    put(user, "data/raw", RAW[1])
    put(user, "data/other", OTHER, "stable")
    tool = user.home / "tools" / "run.sh"
    tool.parent.mkdir()
    tool.write_text(TOOL)
    tool.chmod(0o755)
    user.run("put", "-q", "-n", "data/tools", tool.parent)
    with user.mounted("m") as mount:
        yield Lab(user, mount)


def edges(user: User, run: str) -> tuple[set[str], set[str]]:
    """What the registry says a run used and logged."""
    registry = EmbeddedRegistry(user.registry)
    try:
        found = registry.lineage.of_run(*run.split("/"))
        return set(map(str, found.used)), set(map(str, found.logged))
    finally:
        registry.close()


def expected(pipeline: Pipeline, told: dict[str, Any]) -> tuple[set[str], set[str]]:
    used = {f"data/raw:{line}" for line in told["stdout"]} if pipeline.prints_used else set(pipeline.used)
    return used, {version.replace("$OUT", told["OUT"]) for version in pipeline.logged}


def test_the_edges_of_all_pipelines_are_exact_while_they_run_beside_each_other(lab: Lab) -> None:
    with open(lab.mount / "data/raw/v0/a.txt", "rb"), open(lab.mount / "data/raw/v1/sub/00.txt", "rb"):
        with ThreadPoolExecutor(AT_ONCE) as threads:
            told = dict(zip(PIPELINES, threads.map(lab.run, PIPELINES, PIPELINES.values()), strict=True))
    wrong = {
        name: (edges(lab.user, told[name]["run"]), expected(pipeline, told[name]), told[name])
        for name, pipeline in PIPELINES.items()
        if edges(lab.user, told[name]["run"]) != expected(pipeline, told[name]) or told[name]["unknown"]
    }
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    inner = [run for run in lab.user.json("runs", "lab") if run["name"] == "inner"]
    assert [edges(lab.user, run["run"]) for run in inner] == [({"data/raw:v1"}, set())]
    assert not list((lab.user.home / ".local/state/artfs/runs").iterdir())


def test_two_runs_that_read_the_same_files_at_the_same_moment(lab: Lab) -> None:
    """Each waits for the other before it reads; somebody else, who belongs to no run, reads everything meanwhile."""
    meet = "touch $T/../{0}; until [ -e $T/../{1} ]; do sleep 0.01; done; "
    pipelines = [
        Pipeline(meet.format("met1", "met2") + "cat $M/data/raw/v0/sub/* $M/data/other/v0/sub/*"),
        Pipeline(meet.format("met2", "met1") + "cat $M/data/raw/v0/sub/* $M/data/raw/v1/sub/*"),
    ]
    reading = subprocess.Popen(["bash", "-c", f"while true; do cat {lab.mount}/data/*/v?/sub/* >/dev/null; done"])
    try:
        with ThreadPoolExecutor(2) as threads:
            one, two = threads.map(lab.run, ("one", "two"), pipelines)
    finally:
        reading.kill()
        reading.wait(10)
    assert edges(lab.user, one["run"]) == ({"data/raw:v0", "data/other:v0"}, set())
    assert edges(lab.user, two["run"]) == ({"data/raw:v0", "data/raw:v1"}, set())


def test_signals_reach_the_command_and_the_run_ends_as_it_does(lab: Lab) -> None:
    environment = {**lab.user.environment(M=str(lab.mount)), "PYTHONUNBUFFERED": "1"}
    script = "trap 'echo told; exit 7' INT; cat $M/data/raw/v0/a.txt; while true; do sleep 0.05; done"
    run = subprocess.Popen(
        [ARTFS, "run", "-p", "lab", "--json", "--", "bash", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "same\n"
    run.send_signal(signal.SIGINT)
    said, told = run.communicate(timeout=PIPELINE_S)[0].splitlines()
    assert (run.returncode, said) == (7, "told")
    assert edges(lab.user, json.loads(told)["run"]) == ({"data/raw:v0"}, set())
    (listed,) = lab.user.json("runs", "lab")
    assert (listed["state"], listed["exit_code"]) == ("failed", 7)


def test_a_command_that_is_not_there_is_a_failed_run(lab: Lab) -> None:
    done = lab.user.run("run", "-p", "lab", "--", "no-such-command", code=127)
    assert "no such command" in done.stderr.lower()
    (listed,) = lab.user.json("runs", "lab")
    assert (listed["state"], listed["exit_code"]) == ("failed", 127)


def test_the_first_run_of_a_mount_is_exact_for_who_stands_in_it_and_holds_files_open(lab: Lab) -> None:
    """Also where an alias moved away under it: whoever stands in a directory keeps its version."""
    script = """
        cat $M/data/raw/*/a.txt $M/data/raw/*/version.txt >/dev/null
        exec 5< $M/data/raw/first/version.txt 6< $M/data/raw/first/a.txt
        cd $M/data/raw/first/sub
        artfs alias data/raw:v1 first >&2
        until grep -q v1 $M/data/raw/first/version.txt; do sleep 0.05; done
        artfs run -p lab --json -- bash -ec 'cat ../version.txt ../a.txt 00.txt >&2; pwd'
        cat ../version.txt
    """
    environment = lab.user.environment(M=str(lab.mount))
    environment["PATH"] = f"{ARTFS.parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=PIPELINE_S, check=True
    )
    where, told, after = done.stdout.splitlines()
    assert edges(lab.user, json.loads(told)["run"]) == ({"data/raw:v0"}, set())
    assert json.loads(told)["unknown"] == 0
    assert after == "v0"
    assert where.endswith("/data/raw/v0/sub")


def test_what_a_run_reads_is_recorded_while_it_goes_on(lab: Lab) -> None:
    script = "cat $M/data/raw/v1/a.txt >/dev/null; echo $ARTFS_RUN; read line"
    command: list[str | Path] = [ARTFS, "run", "-p", "lab", "-q", "--", "bash", "-c", script]
    environment = lab.user.environment(M=str(lab.mount))
    run = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        name = run.stdout.readline().strip()
        assert lab.user.json("runs", name)["state"] == "running"
        wait_until(lambda: edges(lab.user, name) == ({"data/raw:v1"}, set()), "the edge is recorded")
    finally:
        run.communicate("go\n", timeout=PIPELINE_S)
    assert run.returncode == 0
    assert lab.user.json("runs", name)["state"] == "finished"


def test_an_interrupt_from_the_terminal_reaches_the_command_once(lab: Lab) -> None:
    script = (
        "count=0; trap 'count=$((count + 1))' INT; echo ready; read line; read line; echo interrupted $count; exit 5"
    )
    command = [str(ARTFS), "run", "-p", "lab", "-q", "--", "bash", "-c", script]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, lab.user.environment())
    output = b""
    status: list[int] = []

    def said(what: bytes) -> bool:
        nonlocal output
        if select.select([terminal], [], [], 0)[0]:
            output += os.read(terminal, 4096)
        return what in output

    def has_ended() -> bool:
        ended, code = os.waitpid(pid, os.WNOHANG)
        status.extend([code] if ended else [])
        return bool(ended)

    try:
        wait_until(lambda: said(b"ready"), "the command begins", PIPELINE_S)
        os.write(terminal, b"\x03")
        wait_until(lambda: said(b"^C"), "the terminal shows the interrupt")
        os.write(terminal, b"\nmore\n")
        wait_until(lambda: said(b"interrupted"), "the command goes on", PIPELINE_S)
        wait_until(has_ended, "artfs run ends", PIPELINE_S)
    finally:
        os.close(terminal)  # which tells a command that goes on to end
        if not status:
            os.waitpid(pid, 0)
    assert b"interrupted 1" in output
    assert os.waitstatus_to_exitcode(status[0]) == 5
    assert lab.user.json("runs", "lab")[0]["exit_code"] == 5
