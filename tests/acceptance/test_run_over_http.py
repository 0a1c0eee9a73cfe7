"""`artfs run` with a registry on a server: who may do what, and a server that is away for a while."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Team
from tests.acceptance.user import ARTFS, wait_until

pytestmark = [pytest.mark.falsifies("access", "lineage"), pytest.mark.fuse, pytest.mark.serial]

RUN_S = 90


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[Member]:
    """A user with data of her own, `data/raw:v0`, on a server."""
    team = Team(tmp_path, {})
    with team.serving() as server:
        ann = team.user("ann", server.url)
        source = ann.home / "raw"
        source.mkdir()
        (source / "a.txt").write_text("a\n")
        ann.run("put", "-q", "-n", "data/raw", source)
        yield ann


def test_edges_go_to_the_server(ann: Member) -> None:
    with ann.mounted() as mount:
        script = (
            f"cd {mount}; mkdir data/out; cp -r data/raw/v0 data/out/.staging/n; mv data/out/.staging/n data/out/best"
        )
        told = ann.run("run", "-p", "lab", "--json", "--", "bash", "-ec", script).stdout.splitlines()[-1]
    assert (json.loads(told)["used"], json.loads(told)["logged"]) == (["data/raw:v0"], ["data/out:v0"])
    graph = ann.json("lineage", "data/out:best")
    assert {edge["kind"] for edge in graph["edges"]} == {"used", "logged"}


def test_a_mount_needs_no_rights_for_the_run(ann: Member, tmp_path: Path) -> None:
    """Ron's run in a project that the mount's user cannot even see; ron may read her data, and write it too."""
    team = Team(tmp_path, {})
    ron = team.user("ron", ann.settings["ARTFS_REGISTRY"], login=False)
    team.administrator.run("project", "share", "data", "ron", "writer")
    token = team.token("ron").read_text().strip()
    assert ron.home != ann.home
    with ann.mounted() as mount:
        script = (
            f"cd {mount}; mkdir data/out; cp -r data/raw/v0 data/out/.staging/n; mv data/out/.staging/n data/out/best"
        )
        done = ann.run("run", "-p", "secret", "--json", "--", "bash", "-ec", script, ARTFS_TOKEN=token)
        ann.run("runs", "secret", code=3)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["used"], told["logged"]) == (["data/raw:v0"], ["data/out:v0"])


def test_a_server_that_is_back_before_the_end_has_everything(tmp_path: Path) -> None:
    team = Team(tmp_path, {})
    with team.serving() as server:
        ann = team.user("ann", server.url)
        source = ann.home / "raw"
        source.mkdir()
        (source / "a.txt").write_text("a\n")
        ann.run("put", "-q", "-n", "data/raw", source)
        with ann.mounted() as mount:
            (mount / "data/raw/v0/a.txt").read_text()
            script = f"read line; cat {mount}/data/raw/v0/a.txt; echo $$; read line || true"
            command = [str(ARTFS), "run", "-p", "lab", "--json", "--", "bash", "-ec", script]
            pipe = subprocess.PIPE
            with subprocess.Popen(command, env=ann.environment(), stdin=pipe, stdout=pipe, text=True) as run:
                assert run.stdin is not None
                assert run.stdout is not None
                run.stdin.write("go\n")
                run.stdin.flush()
                assert run.stdout.readline() == "a\n"
                shell = Path("/proc", run.stdout.readline().strip())
                server.pause()
                run.stdin.close()
                wait_until(lambda: not shell.exists(), "the command ends while the server does not answer")
                server.resume()
                (told,) = run.stdout.read().splitlines()
                assert run.wait(RUN_S) == 0
    assert json.loads(told)["used"] == ["data/raw:v0"]
