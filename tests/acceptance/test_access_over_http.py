"""The whole access matrix through a running server, and that its answers tell nothing of hidden projects and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from artfs.client.remote.registry import RemoteRegistry
from artfs.model.access import Role, Scope, Visibility
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.team import Server, Team
from tests.acceptance.user import wait_until
from tests.access_matrix import ACTIONS
from tests.access_stage import CALLERS, CONTENT, Caller, Stage, expected
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("access")]

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team(tmp_path_factory.mktemp("team"), {})


@pytest.fixture(scope="module")
def server(team: Team) -> Iterator[Server]:
    with team.serving() as server:
        yield server


@pytest.fixture(scope="module")
def owner(team: Team, server: Server) -> Iterator[EmbeddedRegistry]:
    """The registry that is served, opened beside the server as its administrator does."""
    opened = EmbeddedRegistry(team.administrator.registry)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stages(owner: EmbeddedRegistry) -> dict[Visibility, Stage]:
    return {visibility: Stage(owner, visibility) for visibility in Visibility}


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_everybody_gets_over_http_exactly_what_the_rules_say(
    server: Server, owner: EmbeddedRegistry, stages: dict[Visibility, Stage], caller: Caller, tmp_path: Path
) -> None:
    token = owner.access.tokens.create(caller.user, "", [caller.scope]).secret
    registry = RemoteRegistry(server.url, token, spool=tmp_path)
    for visibility, stage in stages.items():
        found = {str(action): action.outcome(registry, caller, stage) for action in ACTIONS}
        assert found == {str(action): expected(action.kind, caller, visibility) for action in ACTIONS}
        tried("a call over HTTP by somebody who may or may not make it", len(found))
    registry.close()
    assert token.rpartition("_")[2] not in server.log.read_text()


def test_packs_and_trees_of_a_hidden_project_are_as_absent_as_one_that_never_was(
    server: Server, owner: EmbeddedRegistry, stages: dict[Visibility, Stage]
) -> None:
    hidden, seen = stages[Visibility.PRIVATE].project, stages[Visibility.PUBLIC].project
    content_root = CONTENT.root.hex()
    (location,) = owner.objects.locate(hidden, [CONTENT.root_key])
    assert location is not None
    pack = Path(urlsplit(location.url).path).stem
    owner.access.users.create("stella")
    token = owner.access.tokens.create("stella", "", [Scope.ADMIN]).secret

    def get(path: str) -> tuple[int, str]:
        answer = requests.get(
            f"{server.url}/v1/projects/{path}",
            headers={"Authorization": f"Bearer {token}", "Range": "bytes=0-9"},
            timeout=TIMEOUT_S,
        )
        return answer.status_code, answer.text.replace(path.partition("/")[0], "PROJECT")

    there = (f"packs/{pack}", f"trees/{content_root}", f"trees/{content_root}/pages")
    for path in (*there, f"packs/{'0' * 32}", f"trees/{'0' * 64}", f"trees/{'0' * 64}/pages", f"recipes/{'0' * 64}"):
        assert get(f"{hidden}/{path}") == get(f"never-was/{path}")
        assert get(f"{hidden}/{path}")[0] == 404
    assert get(f"{seen}/trees/{content_root}")[0] == 206
    assert get(f"{seen}/trees/{content_root}/pages")[0] == 200
    foreign, unknown = get(f"{seen}/packs/{pack}"), get(f"{seen}/packs/{'0' * 32}")
    assert foreign == (unknown[0], unknown[1].replace("0" * 32, pack))
    assert foreign[0] == 404
    owner.access.members.set(hidden, "stella", Role.READER)
    assert get(f"{hidden}/packs/{pack}")[0] == 206


def test_a_member_of_a_team_uses_the_same_commands(team: Team, server: Server) -> None:
    ann, ben = team.user("ann", server.url, scope="admin"), team.user("ben", server.url)
    ann.run("project", "create", "shared")
    ann.run("project", "share", "shared", "ben", "writer")
    assert [project["project"] for project in ben.json("project", "list")].count("shared") == 1
    assert {one["user"]: one["role"] for one in ben.json("project", "members", "shared")} == {
        "ann": "admin",
        "ben": "writer",
    }
    refused = ben.run("project", "visibility", "shared", "open", code=5)
    assert "ben may not change members or visibility" in refused.stderr
    assert "lacks the scope admin" in refused.stderr
    made = ben.json("token", "create", "--scope", "read", "--expires", "1h")
    assert (made["user"], made["scopes"]) == ("ben", ["read"])
    file = team.directory / "ben-reading.token"
    file.touch(mode=0o600)
    file.write_text(made["token"])
    reading = team.at_home("ben", server.url, home="ben-elsewhere", login=False)
    reading.run("login", server.url, "--token-file", file)
    me = reading.json("whoami")
    assert (me["user"], me["token"], me["expires_at"]) == ("ben", made["id"], made["expires_at"])
    assert "lacks the scope write" in reading.run("project", "create", "mine", code=5).stderr
    refused = reading.run("user", "list", code=5)
    assert refused.stdout == ""
    assert "ask an administrator of the server" in refused.stderr
    reading.run("token", "revoke", made["id"])
    wait_until(lambda: reading.run("whoami", code=None).returncode == 5, "the token is no longer believed")
