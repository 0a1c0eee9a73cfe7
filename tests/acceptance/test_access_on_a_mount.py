"""What a mount answers to those who may not: `Permission denied` for what they see, nothing of what they do not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import wait_until

pytestmark = [pytest.mark.falsifies("access"), pytest.mark.fuse, pytest.mark.serial]

SEEN_S = 2.0  # within which what changes must be seen on a mount


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path, {})


@pytest.fixture
def server(team: Team) -> Iterator[Server]:
    with team.serving() as server:
        yield server


@pytest.fixture
def alice(team: Team, server: Server, tmp_path: Path) -> Member:
    """Somebody with a project of each visibility."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("content")
    alice = team.user("alice", server.url, scope="admin")
    for visibility in ("private", "public", "open"):
        alice.run("project", "create", visibility, "--visibility", visibility)
        alice.run("put", "-n", f"{visibility}/bikes", source)
    return alice


def refused(call: Callable[[], object]) -> str:
    """The name of the errno that `call` fails with, empty if it does not fail."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def what_is_refused(project: Path) -> dict[str, str]:
    """Everything that can be done in a project by a mount, in an order that lets each succeed."""
    draft, alias = project / "bikes/.staging/next", project / "bikes/best"
    calls: dict[str, Callable[[], object]] = {
        "list": lambda: os.listdir(project),
        "read": lambda: (project / "bikes/latest/f").read_text(),
        "make an artifact": lambda: (project / "cars").mkdir(),
        "delete an artifact": lambda: (project / "cars").rmdir(),
        "describe": lambda: os.setxattr(project / "bikes/v0", "user.artfs.description", b"two wheels"),
    }
    found = {name: refused(call) for name, call in calls.items()}
    if not found["list"]:
        draft.mkdir()
        (draft / "g").write_text("new")
        found["commit"] = refused(lambda: draft.rename(alias))
        found["remove an alias"] = refused(alias.rmdir)
        assert draft.exists() == bool(found["commit"])  # what could not be committed is kept
    return found


ALLOWED = ["list", "read", "make an artifact", "delete an artifact", "describe", "commit", "remove an alias"]


def test_a_stranger_does_on_a_mount_what_the_visibility_says(team: Team, server: Server, alice: Member) -> None:
    bob = team.user("bob", server.url)
    with bob.mounted() as mount:
        assert sorted(os.listdir(mount)) == ["open", "public"]
        assert set(what_is_refused(mount / "private").values()) == {"ENOENT"}
        public, opened = what_is_refused(mount / "public"), what_is_refused(mount / "open")
        assert {name for name, error in public.items() if not error} == {"list", "read"}
        assert {public[name] for name in ("make an artifact", "describe", "commit")} == {"EACCES"}
        assert opened == {name: "EACCES" if name == "delete an artifact" else "" for name in ALLOWED}
        assert refused((mount / "public").rmdir) == "EACCES"
        assert refused((mount / "mine").mkdir) == ""


def test_a_writing_member_does_all_and_one_with_a_reading_token_reads(
    team: Team, server: Server, alice: Member
) -> None:
    bob = team.user("bob", server.url)
    reading = team.at_home("bob", server.url, home="bob-elsewhere", scope="read")
    alice.run("project", "share", "private", "bob", "writer")
    with reading.mounted() as mount:
        found = what_is_refused(mount / "private")
        assert {name for name, error in found.items() if not error} == {"list", "read"}
        assert refused((mount / "mine").mkdir) == "EACCES"
    with bob.mounted() as mount:
        assert what_is_refused(mount / "private") == dict.fromkeys(ALLOWED, "")


def test_a_mount_shows_and_hides_a_project_as_access_comes_and_goes(team: Team, server: Server, alice: Member) -> None:
    bob = team.user("bob", server.url)
    alice.run("project", "create", "brief", "--visibility", "public")
    with bob.mounted() as mount:
        file = mount / "private/bikes/latest/f"
        assert not file.exists()
        alice.run("project", "share", "private", "bob", "reader")
        wait_until(file.exists, "a shared project is seen", SEEN_S)
        assert file.read_text() == "content"
        assert sorted(os.listdir(mount)) == ["brief", "open", "private", "public"]
        alice.run("project", "unshare", "private", "bob")
        wait_until(lambda: "private" not in os.listdir(mount), "it is no longer listed", SEEN_S)
        wait_until(lambda: not file.exists(), "nothing in it is found", SEEN_S)
        alice.run("project", "visibility", "public", "private")
        wait_until(lambda: not (mount / "public").exists(), "what became private is not found", SEEN_S)
        alice.run("project", "delete", "brief", "--yes")
        wait_until(lambda: os.listdir(mount) == ["open"], "what was deleted is not listed", SEEN_S)
