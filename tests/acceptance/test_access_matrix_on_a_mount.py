"""The access matrix through mounts: everybody, with every token, in projects of every visibility, all that a mount can do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.model.access import Role, Visibility
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.team import Server, Team
from tests.access_stage import CALLERS, Caller, Kind, Outcome, expected
from tests.contract.uploading import commit, content_of
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("access"), pytest.mark.fuse]

ERRNOS = {Outcome.ALLOWED: "", Outcome.DENIED: "EACCES", Outcome.HIDDEN: "ENOENT"}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team(tmp_path_factory.mktemp("team"), {})


@pytest.fixture(scope="module")
def server(team: Team) -> Iterator[Server]:
    with team.serving() as server:
        registry = EmbeddedRegistry(team.administrator.registry)
        for caller in {caller.user: caller for caller in CALLERS}.values():
            registry.access.users.create(caller.user, admin=caller.server_admin)
        for visibility in Visibility:
            registry.projects.create(visibility.value, visibility=visibility)
            for role in Role:
                registry.access.members.set(visibility.value, f"a-{role.value}", role)
            commit(registry, visibility.value, "bikes", content_of({"f": b"content"}))
            for caller in CALLERS:  # for each to try to delete
                registry.artifacts.create(visibility.value, f"old-{caller}")
                registry.aliases.move(visibility.value, "bikes", f"old-{caller}", 0)
        registry.close()
        yield server


def refused(call: Callable[[], object]) -> str:
    """The name of the errno that `call` fails with, empty if it does not fail."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def commit_draft(project: Path, name: str) -> None:
    """Stage a file and rename it to an alias. Raises OSError where either is refused; a refused commit leaves its draft."""
    draft = project / "bikes/.staging" / name
    draft.mkdir()
    (draft / "g").write_text(name)
    try:
        draft.rename(project / "bikes" / name)
    except OSError:
        assert (draft / "g").read_text() == name
        raise


def attempts(project: Path, caller: Caller) -> dict[str, tuple[Kind, Callable[[], object]]]:
    """Everything that can be done in a project through a mount."""
    return {
        "list": (Kind.READ, lambda: os.listdir(project)),
        "read": (Kind.READ, lambda: (project / "bikes/v0/f").read_text()),
        "make an artifact": (Kind.WRITE, (project / f"new-{caller}").mkdir),
        "delete an artifact": (Kind.DELETE, (project / f"old-{caller}").rmdir),
        "describe": (Kind.WRITE, lambda: os.setxattr(project / "bikes/v0", "user.artfs.description", b"two wheels")),
        "rename an alias": (
            Kind.WRITE,
            lambda: os.rename(project / f"bikes/old-{caller}", project / f"bikes/older-{caller}"),
        ),
        "commit": (Kind.WRITE, lambda: commit_draft(project, f"by-{caller}")),
        "remove an alias": (Kind.WRITE, lambda: _remove_alias(project, caller)),
    }


def _remove_alias(project: Path, caller: Caller) -> None:
    there = project / f"bikes/older-{caller}"  # where the renaming was allowed
    (there if there.exists() else project / f"bikes/old-{caller}").rmdir()


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_a_mount_lets_everybody_do_what_they_may_and_nothing_else(team: Team, server: Server, caller: Caller) -> None:
    member = team.at_home(caller.user, server.url, home=str(caller), scope=caller.scope.value)
    with member.mounted() as mount:
        for visibility in Visibility:
            project = mount / visibility.value
            found = {name: refused(call) for name, (_, call) in attempts(project, caller).items()}
            wanted = {
                name: ERRNOS[expected(kind, caller, visibility)]
                for name, (kind, _) in attempts(project, caller).items()
            }
            assert found == wanted, visibility
            tried("a call on a mount by somebody who may or may not make it", len(found))
            govern = ERRNOS[expected(Kind.GOVERN, caller, visibility)]
            assert refused(project.rmdir) == (govern or "ENOTEMPTY")
        create = ERRNOS[expected(Kind.CREATE, caller, Visibility.PRIVATE)]
        assert refused((mount / f"project-of-{caller}").mkdir) == create
