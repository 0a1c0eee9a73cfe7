"""`artfs rm` as users type it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from artfs.cli.commands.rm import SLICE_VERSIONS
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.user import User
from tests.contract.uploading import commit

pytestmark = [pytest.mark.falsifies("deletion")]


@pytest.fixture
def stocked(user: User, tmp_path: Path) -> User:
    """`p/a` with v0 to v3, `latest` on the last and `best` on v1; `p/exp-1` and `p/exp-2`, which share their content."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        (data / "own").write_bytes(os.urandom(10_000))
        user.run("put", "-n", "p/a", data, *(["-a", "best"] if number == 1 else []))
    for name in ("exp-1", "exp-2"):
        user.run("put", "-n", f"p/{name}", data)
    return user


def versions(user: User, artifact: str) -> list[str]:
    return [version["version"] for version in user.json("log", artifact)]


def test_what_has_no_alias_goes(stocked: User) -> None:
    (plan,) = stocked.json("rm", "--dry-run", "--unaliased", "p/a")
    assert plan["versions"] == ["v0", "v2"]
    assert versions(stocked, "p/a") == ["v3", "v2", "v1", "v0"], "a dry run deletes nothing"
    (done,) = stocked.json("rm", "--unaliased", "p/a")
    assert done == plan
    assert versions(stocked, "p/a") == ["v3", "v1"]
    assert stocked.run("rm", "--unaliased", "p/a").stderr.strip() == "nothing to delete"


def test_a_dry_run_counts_what_is_shared_among_all_that_goes(stocked: User) -> None:
    alone = [stocked.json("rm", "-n", "-r", ref)[0]["freed_bytes"] for ref in ("p/a", "p/exp-1", "p/exp-2")]
    (together,) = stocked.json("rm", "-n", "-r", "p/a", "p/exp-*")
    assert sum(alone[1:]) == 0, "each shares all it has with another"
    assert together["freed_bytes"] > sum(alone)
    assert together["artifacts"] == ["a", "exp-1", "exp-2"]
    assert stocked.json("rm", "-r", "p/*") == [together]
    assert stocked.stored_bytes() == 0
    assert stocked.json("ls", "p") == []


def test_age_and_keep_choose_and_aliases_protect(stocked: User) -> None:
    assert stocked.json("rm", "--older-than", "1h", "p/a")[0]["versions"] == []
    done = stocked.run("rm", "--keep", "1", "p/a")
    assert "keeping p/a:v1: it has aliases (best)" in done.stderr
    assert versions(stocked, "p/a") == ["v3", "v1"]
    stocked.run("rm", "--keep", "0", "--delete-aliases", "p/a")
    assert versions(stocked, "p/a") == []


def test_patterns_name_versions(stocked: User) -> None:
    refused = stocked.run("rm", "p/a:v[012]", code=4)
    assert "best" in refused.stderr
    assert len(versions(stocked, "p/a")) == 4
    stocked.run("rm", "p/a:v[02]", "p/exp-1:b*", code=3)
    assert len(versions(stocked, "p/a")) == 4, "all that is named must be there"
    stocked.run("rm", "p/a:v[02]")
    assert versions(stocked, "p/a") == ["v3", "v1"]


def test_containers_go_when_they_are_empty_or_with_all_in_them(stocked: User) -> None:
    stocked.run("rm", "p/a", code=4)
    stocked.run("rm", "p", code=4)
    stocked.run("rm", "--delete-aliases", "p/exp-1:v0")
    stocked.run("rm", "p/exp-1")
    assert [one["artifact"] for one in stocked.json("ls", "p")] == ["a", "exp-2"]
    stocked.run("rm", "-r", "p")
    assert stocked.json("ls") == []
    stocked.run("fsck")


def test_more_versions_than_one_call_deletes_are_as_exact(user: User) -> None:
    with closing(EmbeddedRegistry(user.registry)) as registry:
        registry.projects.create("p")
        for number in range(SLICE_VERSIONS + 3):
            commit(registry, "p", "many", {"own": b"%d" % number, "few": b"few %d" % (number // 300)})
        commit(registry, "p", "other", {"few": b"few 0"})
    (plan,) = user.json("rm", "--dry-run", "--unaliased", "p/many", "p/other")
    before = user.run("rm", "--dry-run", "--unaliased", "p/many").stderr
    assert f"({SLICE_VERSIONS + 2} versions)" in before
    assert user.json("rm", "--unaliased", "p/many", "p/other") == [plan]
    assert len(plan["versions"]) == SLICE_VERSIONS + 2
    assert plan["objects"] == 2 * (SLICE_VERSIONS + 2), "a file and a tree each; what few share is held elsewhere"
    assert versions(user, "p/many") == [f"v{SLICE_VERSIONS + 2}"]
    user.run("fsck")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--older-than", "soon", "p/a"], 2), (["--keep", "-1", "p/a"], 2), (["p*/a"], 2), (["--unaliased", "p"], 2)],
)
def test_mistakes_are_told(stocked: User, arguments: list[str], code: int) -> None:
    assert stocked.run("rm", *arguments, code=code).stderr
