"""Mounts of a real server that is killed, stopped and started again."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import wait_until

pytestmark = [pytest.mark.falsifies("no-hang")]

BOUND_S = 60.0  # a request's timeouts and retries, twice
SEEN_S_MAX = 2.0
UNREACHABLE = os.strerror(errno.EHOSTUNREACH)


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path, {"ARTFS_REGISTRY": str(tmp_path / "registry")})


@pytest.fixture
def server(team: Team) -> Iterator[Server]:
    _put(team, "bikes", "0")
    _put(team, "cars", "never visited")
    with team.serving() as running:
        yield running


@pytest.fixture
def alice(team: Team, server: Server) -> Member:
    return team.user("alice", server.url, admin=True)


def _put(team: Team, artifact: str, text: str) -> None:
    source = team.directory / "source"
    source.mkdir(exist_ok=True)
    (source / "f").write_text(text)
    team.administrator.run("put", "-n", f"vision/{artifact}", "-a", "best", source)


def _version(place: Path) -> str:
    return os.getxattr(place, "user.artfs.version").decode()


def test_an_alias_moved_on_one_machine_is_seen_on_another(team: Team, server: Server, alice: Member) -> None:
    other = team.at_home("alice", server.url, home="elsewhere")
    with alice.mounted() as here, other.mounted() as there:
        assert _version(there / "vision/bikes/best") == "v0"
        took = []
        for number in range(1, 6):
            draft = here / "vision/bikes/.staging/next"
            draft.mkdir()
            (draft / "f").write_text(f"new {number}")
            subprocess.run(["mv", "-T", draft, here / "vision/bikes/best"], check=True, timeout=BOUND_S)
            began_s = time.monotonic()
            assert _version(here / "vision/bikes/best") == f"v{number}"
            wait_until(lambda n=number: _version(there / "vision/bikes/best") == f"v{n}", "it is seen", SEEN_S_MAX)  # type: ignore[misc]  # bound now
            took.append(time.monotonic() - began_s)
            assert (there / "vision/bikes/best/f").read_text() == f"new {number}"
        assert sorted(took)[2] < 0.5


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.deep)])
def test_without_its_server_a_mount_shows_what_was_visited_and_recovers(
    team: Team, server: Server, alice: Member, how: str
) -> None:
    with alice.mounted() as mount:
        visited = mount / "vision/bikes/latest/f"
        assert visited.read_text() == "0"
        for place in (mount / "vision/bikes", mount / "vision", mount):
            os.listdir(place)
        if how == "killed":
            server.kill()
        else:
            server.pause()
        began_s = time.monotonic()
        with pytest.raises(OSError, match=UNREACHABLE):
            os.listdir(mount / "vision/cars")
        assert time.monotonic() - began_s < BOUND_S
        for _ in range(3):
            began_s = time.monotonic()
            assert visited.read_text() == "0"
            assert sorted(os.listdir(mount / "vision/bikes")) == [".staging", "best", "latest", "v0"]
            assert time.monotonic() - began_s < 1.0
        _put(team, "bikes", "1")
        port = int(server.url.rpartition(":")[2])
        if how == "stopped":
            server.resume()
            _recovers(mount)
        else:
            with team.serving(port=port):
                _recovers(mount)


def _recovers(mount: Path) -> None:
    wait_until(lambda: _version(mount / "vision/bikes/best") == "v1", "the new version is seen", BOUND_S)
    assert (mount / "vision/bikes/best/f").read_text() == "1"
    assert (mount / "vision/cars/best/f").read_text() == "never visited"


def test_a_mount_begins_without_its_server_once_it_was_there(server: Server, alice: Member) -> None:
    with alice.mounted() as mount:
        assert (mount / "vision/bikes/latest/f").read_text() == "0"
        os.listdir(mount / "vision/bikes")
        written = os.stat(mount / "vision/bikes/latest/f").st_mtime_ns
    server.kill()
    with alice.mounted() as mount:
        assert (mount / "vision/bikes/latest/f").read_text() == "0"
        assert os.stat(mount / "vision/bikes/latest/f").st_mtime_ns == written
        with pytest.raises(OSError, match=UNREACHABLE):
            os.listdir(mount / "vision/cars")


def test_a_registry_that_never_answered_is_an_error_of_the_mount_command(team: Team, server: Server) -> None:
    bob = team.user("bob", server.url)
    server.kill()
    failed = bob.run("mount", bob.home / "mnt", code=7)
    assert "cannot reach" in failed.stderr
