"""Prefetching and pinning as a user does it, from a server and from a registry in a directory."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import User, wait_until

pytestmark = [pytest.mark.falsifies("no-hang", "cache-limit")]

FILES = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in directories, and a file of many chunks: about 7 MB."""
    rng = random.Random(7)
    root = tmp_path_factory.mktemp("data") / "bikes"
    for i in range(FILES):
        path = root / f"images/{i % 7}/{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(7000))
    (root / "model.bin").write_bytes(rng.randbytes(5 << 20))
    (root / "link").symlink_to("model.bin")
    return root


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path, {"ARTFS_REGISTRY": str(tmp_path / "registry")})


@pytest.fixture
def server(team: Team, data: Path) -> Iterator[Server]:
    team.administrator.run("put", "-n", "vision/bikes", data)
    with team.serving() as running:
        yield running


@pytest.fixture
def alice(team: Team, server: Server) -> Member:
    return team.user("alice", server.url, admin=True)


def _same(ours: Path, theirs: Path) -> bool:
    done = subprocess.run(["diff", "-r", "--no-dereference", ours, theirs], check=False, timeout=120)
    return done.returncode == 0


def test_what_was_prefetched_needs_no_server(alice: Member, server: Server, data: Path) -> None:
    done = alice.json("prefetch", "vision/bikes")
    assert done["files"] == FILES + 1
    assert done["fetched_bytes"] > 7 << 20
    assert done["lost_objects"] == 0
    with alice.mounted() as mount:
        os.listdir(mount / "vision/bikes")
        server.kill()
        assert _same(mount / "vision/bikes/latest", data)
        (shown,) = alice.json("status")["mounts"]
        wait_until(lambda: not alice.json("status")["mounts"][0]["cache"]["registry"]["reachable"], "status says so")
        assert shown["cache"]["memory"]["fetched_bytes"] == 0
        assert "out of reach" in alice.run("status").stdout


def test_prefetching_more_than_the_cache_keeps_says_so(alice: Member) -> None:
    done = alice.run("prefetch", "vision/bikes", code=7, ARTFS_CACHE_SIZE="2MB")
    assert "found no room" in done.stderr


def test_prefetching_again_fetches_nothing(alice: Member) -> None:
    first = alice.json("prefetch", "vision/bikes:v0")
    again = alice.json("prefetch", "vision/bikes:v0")
    assert again["fetched_objects"] == 0
    assert again["size_bytes"] == first["size_bytes"]


def test_only_the_paths_that_were_named_are_fetched(alice: Member) -> None:
    done = alice.json("prefetch", "vision/bikes:v0/images", "3", "4/0004.jpg")
    assert done["files"] == FILES // 7 + 2
    assert done["fetched_bytes"] < 1 << 20
    assert "images/nothing" in alice.run("prefetch", "vision/bikes", "images/nothing", code=3).stderr


def test_a_registry_in_a_directory_needs_no_prefetching(user: User, data: Path) -> None:
    user.run("put", "-n", "vision/bikes", data)
    assert "nothing to do" in user.run("prefetch", "vision/bikes").stdout
    user.run("cache", "pin", "vision/bikes", code=2)
    done = user.run("prefetch", "vision/bikes", ARTFS_CACHE="always")
    assert f"{FILES + 1} files" in done.stdout


def test_what_is_pinned_stays_when_everything_else_goes(alice: Member, server: Server, data: Path) -> None:
    pinned = alice.json("cache", "pin", "vision/bikes:latest")
    assert pinned["pinned"] == "vision/bikes:v0"
    (listed,) = alice.json("cache", "pins")
    assert listed == {
        "pinned": "vision/bikes:v0",
        "registry": server.url,
        "objects": pinned["objects"],
        "held": pinned["objects"],
    }
    alice.run("cache", "cleanup", "0")
    info = alice.json("cache", "info")
    assert info["pinned_objects"] == pinned["objects"]
    assert 7 << 20 < info["pinned_bytes"] <= pinned["size_bytes"]
    with alice.mounted() as mount:
        os.listdir(mount / "vision/bikes")
        server.kill()
        assert _same(mount / "vision/bikes/v0", data)
    alice.run("cache", "unpin", "vision/bikes:v0")
    alice.run("cache", "cleanup", "0")
    assert alice.json("cache", "info")["objects"] == 0
    assert alice.json("cache", "pins") == []


def test_more_than_fits_is_not_pinned(alice: Member) -> None:
    refused = alice.run("cache", "pin", "vision/bikes", code=7, ARTFS_CACHE_SIZE="6MB")
    assert "cache_size" in refused.stderr
    assert alice.json("cache", "pins") == []
    alice.run("cache", "pin", "vision/bikes:v0/images", ARTFS_CACHE_SIZE="6MB")
    assert [p["pinned"] for p in alice.json("cache", "pins")] == ["vision/bikes:v0/images"]
    alice.run("cache", "pin", "--dry-run", "vision/bikes")
    assert len(alice.json("cache", "pins")) == 1
    alice.run("cache", "unpin", "vision/bikes:latest", code=3)


@pytest.mark.deep
def test_ls_tells_what_was_listed_before_when_the_server_is_gone(alice: Member, server: Server, tmp_path: Path) -> None:
    listed = alice.run("ls", "vision/bikes").stdout
    alice.run("get", "vision/bikes:v0/images/3", "--root", tmp_path / "part")
    server.kill()
    assert alice.run("ls", "vision/bikes").stdout == listed
    alice.run("get", "vision/bikes:v0/images/3", "--root", tmp_path / "again")
    assert _same(tmp_path / "part", tmp_path / "again")
    assert "cannot reach" in alice.run("ls", code=7).stderr
