"""Times to live as users set and see them, and `artfs gc`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.user import User

pytestmark = [pytest.mark.falsifies("deletion")]

WAIT_S = 60.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    (place / "a").write_bytes(b"x" * 10_000)
    return place


def test_a_time_to_live_is_set_seen_changed_and_applied(user: User, data: Path) -> None:
    user.run("put", "-n", "p/a", data, "--ttl", "30d")
    assert "expires" in user.run("log", "p/a").stdout.splitlines()[0]
    assert user.json("ttl", "p/a:v0")["expires_at"] is not None
    assert user.json("gc", "--dry-run")["versions"] == []
    assert "never" in user.run("ttl", "p/a:v0", "never").stdout
    assert "expires" not in user.run("log", "p/a").stdout.splitlines()[0]
    user.run("ttl", "p/a:v0", "soon", code=2)
    user.run("ttl", "p/a:v0", "1s")
    deadline_s = time.monotonic() + WAIT_S
    while not (plan := user.json("gc", "--dry-run"))["versions"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert plan["versions"] == ["p/a:v0"]
    assert len(user.json("log", "p/a")) == 1, "a dry run deletes nothing"
    assert user.json("gc") == plan
    assert user.json("log", "p/a") == []
    assert user.stored_bytes() == 0
    user.run("fsck")


def test_an_alias_keeps_what_expired(user: User, data: Path) -> None:
    user.run("put", "-n", "p/a", data, "--ttl", "1s", "-a", "best")
    user.run("put", "-n", "p/marker", data, "--ttl", "1s")
    deadline_s = time.monotonic() + WAIT_S
    while user.json("log", "p/marker"):
        assert time.monotonic() < deadline_s
        user.run("gc")
        time.sleep(0.1)
    assert [version["aliases"] for version in user.json("log", "p/a")] == [["best", "latest"]]


def test_of_a_server_gc_says_that_it_collects_by_itself(user: User) -> None:
    told = user.run("--registry", "http://127.0.0.1:9", "gc").stdout
    assert "by itself" in told
