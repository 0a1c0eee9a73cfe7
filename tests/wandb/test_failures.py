"""What goes wrong is said clearly and soon: the client neither hangs nor makes a version."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from artfs.model.access import Role, Scope
from tests.wandb.client import WandbServer, WandbUser, wandb_server

pytestmark = [pytest.mark.timeout(900), pytest.mark.serial, pytest.mark.deep]

SOON_S = 30.0


def put(user: WandbUser, project: str, name: str) -> tuple[subprocess.CompletedProcess[str], float]:
    user.write({"a.txt": b"a"}, "source")
    begin_s = time.monotonic()
    done = user.run("-m", "wandb", "artifact", "put", "-n", f"{project}/{name}", "-t", "dataset", "source/")
    return done, time.monotonic() - begin_s


def refused(user: WandbUser, project: str, *said: str) -> None:
    done, took_s = put(user, project, "refused")
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert any(text in printed for text in said), printed
    assert took_s < SOON_S


@pytest.mark.falsifies("access")
def test_a_wrong_key_is_refused(server: WandbServer) -> None:
    user = server.user("mallory")
    id_, _, secret = user.token.removeprefix("artfs_").partition("_")
    user.token = f"artfs_{id_}_{secret[::-1]}"
    refused(user, "vision", "401", "API key", "invalid")


@pytest.mark.falsifies("access")
def test_a_project_of_others_is_refused(server: WandbServer) -> None:
    server.place.user("alice")
    server.place.project("secret", alice=Role.ADMIN)
    refused(server.user("mallory"), "secret", "is taken", "permission", "403")


@pytest.mark.falsifies("access")
def test_who_may_only_read_does_not_write_but_reads(server: WandbServer) -> None:
    owner, reader = server.user("boss"), server.user("reader")
    assert put(owner, "shared", "there")[0].returncode == 0
    registry = server.place.registry
    registry.access.members.set("shared", "reader", Role.READER)
    registry.close()
    refused(reader, "shared", "may not write", "403")
    reader.wandb("artifact", "get", "shared/there:v0", "--root", "out")
    assert (reader.directory / "out/a.txt").read_bytes() == b"a"


@pytest.mark.falsifies("access")
def test_a_key_for_reading_does_not_write(server: WandbServer) -> None:
    refused(server.user("boss", Scope.READ), "shared2", "may not create", "403", "scope")


def test_an_artifact_that_is_not_there_is_told_so(geoff: WandbUser) -> None:
    done = geoff.run("-m", "wandb", "artifact", "get", "vision/nothing:latest")
    assert done.returncode != 0
    assert "not found" in (done.stdout + done.stderr).lower()


@pytest.mark.falsifies("once", "whole")
def test_a_server_that_is_killed_and_comes_back_leaves_one_version_or_none(tmp_path: Path) -> None:
    with wandb_server(tmp_path) as first:
        user = first.user("geoff")
        port = int(first.server.url.rpartition(":")[2])
        user.write({f"{i}.txt": f"file {i}".encode() for i in range(300)}, "source")
        command = [str(user.python), "-m", "wandb", "artifact", "put", "-n", "vision/cut", "-t", "dataset", "source/"]
        client = subprocess.Popen(
            command, cwd=user.directory, env=user.environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline_s = time.monotonic() + SOON_S
            while len(first.sent_files()) < 20:
                assert time.monotonic() < deadline_s
                assert client.poll() is None
                time.sleep(0.01)
            first.server.process.send_signal(signal.SIGKILL)
            first.server.process.wait(SOON_S)
            with first.place.serving("--wandb", port=port):
                assert client.wait(300) == 0
        finally:
            client.kill()
    registry = first.place.registry
    versions = registry.versions.list("vision", "cut")
    registry.close()
    assert [(version.number, version.file_count) for version in versions] == [(0, 300)]
