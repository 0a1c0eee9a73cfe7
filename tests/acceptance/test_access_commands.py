"""`artfs user`, `token` and `project` as an administrator types them on the server's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from artfs.cli.main import cli
from tests.acceptance.user import User

pytestmark = [pytest.mark.falsifies("access")]


def test_a_new_user_gets_a_token_that_is_shown_once_and_alone(user: User) -> None:
    assert "token create --user alice" in user.run("user", "add", "alice").stdout
    made = user.run("token", "create", "--user", "alice", "--name", "laptop", "--scope", "read", "--expires", "90d")
    assert re.fullmatch(r"artfs_[0-9a-f]{16}_[0-9A-Za-z]{24}\n", made.stdout)
    assert "alice" in made.stderr
    assert made.stdout.strip() not in made.stderr
    (listed,) = user.json("token", "list", "--user", "alice")
    assert listed["id"] == made.stdout.split("_")[1]
    assert (listed["name"], listed["scopes"], listed["last_used_at"]) == ("laptop", ["read"], None)
    assert listed["expires_at"] is not None
    text = user.run("token", "list", "--user", "alice").stdout
    assert "laptop" in text
    assert made.stdout.strip().rpartition("_")[2] not in text


def test_a_revoked_token_is_gone_and_unknown_ones_say_so(user: User) -> None:
    user.run("user", "add", "alice")
    assert re.fullmatch(r"[0-9A-Za-z]{40}\n", user.run("token", "create", "--user", "alice", "--wandb").stdout)
    (key,) = user.json("token", "list", "--user", "alice")
    user.run("token", "revoke", key["id"])
    made = user.json("token", "create", "--user", "alice")
    assert made["token"].startswith(f"artfs_{made['id']}_")
    user.run("token", "revoke", made["id"])
    assert user.json("token", "list", "--user", "alice") == []
    again = user.run("token", "revoke", made["id"], code=3)
    assert made["id"] in again.stderr
    assert "hint:" in again.stderr


def test_users_are_listed_disabled_promoted_and_removed(user: User) -> None:
    user.run("user", "add", "alice")
    assert user.json("user", "add", "carol", "--admin")["admin"]
    user.run("user", "disable", "alice")
    kinds = {found["user"]: (found["admin"], found["disabled"]) for found in user.json("user", "list")}
    assert kinds == {"alice": (False, True), "carol": (True, False)}
    assert "administrator" in user.run("user", "list").stdout
    user.run("user", "enable", "alice")
    user.run("user", "admin", "carol", "--off")
    assert [(u["admin"], u["disabled"]) for u in user.json("user", "list")] == [(False, False), (False, False)]
    user.run("user", "remove", "alice", code=130)  # nobody is there to say yes
    user.run("user", "remove", "alice", "--yes")
    assert [u["user"] for u in user.json("user", "list")] == ["carol"]


def test_a_project_is_shared_shown_and_deleted(user: User) -> None:
    user.run("user", "add", "alice")
    assert user.json("project", "create", "vision", "--visibility", "public")["visibility"] == "public"
    user.run("project", "share", "vision", "alice", "reader")
    user.run("project", "share", "vision", "alice", "writer")
    assert user.json("project", "members", "vision") == [{"user": "alice", "role": "writer"}]
    assert "writer" in user.run("project", "members", "vision").stdout
    user.run("project", "visibility", "vision", "private")
    assert [(p["project"], p["visibility"]) for p in user.json("project", "list")] == [("vision", "private")]
    user.run("project", "unshare", "vision", "alice")
    assert user.json("project", "members", "vision") == []
    user.run("project", "delete", "vision", code=130)
    user.run("project", "delete", "vision", "--yes")
    assert user.run("project", "list", "--json").stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["user", "add", "a/b"], 2, "'a/b'"),
        (["user", "add", "owner"], 4, "owner"),
        (["user", "remove", "nobody", "--yes"], 3, "nobody"),
        (["token", "create"], 2, "--user NAME"),
        (["token", "list"], 2, "--user NAME"),
        (["token", "create", "--user", "nobody"], 3, "nobody"),
        (["token", "create", "--user", "nobody", "--expires", "soon"], 2, "'soon'"),
        (["token", "create", "--user", "nobody", "--expires", "9999y"], 2, "100 years"),
        (["token", "create", "--user", "nobody", "--scope", "all"], 2, "all"),
        (["project", "share", "nowhere", "alice", "reader"], 3, "nowhere"),
        (["project", "share", "nowhere", "alice", "boss"], 2, "boss"),
        (["project", "visibility", "nowhere", "open"], 3, "nowhere"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(user: User, arguments: list[str], code: int, says: str) -> None:
    done = user.run(*arguments, code=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_who_opens_the_registry_itself_is_its_owner(user: User) -> None:
    me = user.json("whoami")
    assert me == {
        "user": "owner",
        "admin": True,
        "scopes": ["read", "write", "admin"],
        "token": None,
        "expires_at": None,
    }


def _commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """The words of all commands, of which those that are loaded when they are asked for are not listed in `commands`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*before, name)
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from _commands(found, *before, name)


def test_examples_and_options_fit_a_terminal_of_80_columns() -> None:
    every = list(_commands(cli))
    assert {("rm",), ("token", "create"), ("cache", "pin")} <= set(every)
    for words in every:
        done = CliRunner().invoke(cli, [*words, "--help"], terminal_width=80, max_content_width=80)
        assert done.exit_code == 0
        for line in done.output.splitlines():
            assert len(line) <= 80, (words, line)


def test_the_secret_of_a_token_is_in_no_file_of_its_maker(user: User, tmp_path: Path) -> None:
    user.run("user", "add", "alice")
    secret = user.run("--verbose", "token", "create", "--user", "alice").stdout.strip().rpartition("_")[2]
    stored = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"alice" in data for data in stored)
    assert not any(secret.encode() in data for data in stored)
