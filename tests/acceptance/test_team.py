"""A team over one registry, as its members see it: commands, mounts and caches of their own, servers that fail."""

from __future__ import annotations

import errno
import filecmp
import os
import random
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Server, Team, shared_storage
from tests.acceptance.user import wait_until
from tests.registries import migrated_database

pytestmark = [
    pytest.mark.falsifies("one-version", "cache-limit", "seen-soon", "access", "no-hang", "whole"),
    pytest.mark.fuse,
    pytest.mark.serial,
]

FAILS_S = 60.0  # within which a read of what is out of reach must fail
SEEN_S = 2.0  # within which what one mount changes must be seen by another


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path, {})


@pytest.fixture
def server(team: Team) -> Iterator[Server]:
    with team.serving() as server:
        yield server


@pytest.fixture(
    params=[
        "sqlite and a directory",
        pytest.param("sqlite and an encrypted directory", marks=pytest.mark.deep),
        pytest.param("postgresql and s3", marks=(pytest.mark.postgres, pytest.mark.s3)),
    ]
)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Team, str, str]]:
    """A team, and the URLs of two servers: one and the same of a single machine, or two over shared storage."""
    if request.param != "postgresql and s3":
        keys = tmp_path / "keys"
        keys.touch(mode=0o600)
        keys.write_text(f"k1 = {b64encode(os.urandom(32)).decode()}\n")
        team = Team(tmp_path, {"ARTFS_ENCRYPTION_KEYS": str(keys)} if "encrypted" in request.param else {})
        with team.serving("--workers", "2") as only:
            yield team, only.url, only.url
        return
    with migrated_database() as database:
        team = Team(tmp_path, shared_storage(database, tmp_path.name))
        with team.serving() as first, team.serving() as second:
            yield team, first.url, second.url


def _tree(root: Path, files: int = 200, seed: int = 1) -> Path:
    choose = random.Random(seed)
    for number in range(files):
        path = root / f"d{number % 7}" / f"f{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(choose.randbytes(choose.randint(0, 20_000)))
    (root / "large.bin").write_bytes(choose.randbytes(5 << 20))
    (root / "link").symlink_to("large.bin")
    return root


def assert_same(one: Path, other: Path) -> None:
    """Both hold the same files, to the byte."""
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*"))
    files = [str(name) for name in names if (one / name).is_file()]
    assert filecmp.cmpfiles(one, other, files, shallow=False) == (files, [], [])


def _disk_bytes(root: Path) -> int:
    """What `du` says."""
    found = 0
    for directory, _, names in os.walk(root):
        for path in (Path(directory), *(Path(directory, name) for name in names)):
            try:
                found += path.lstat().st_blocks * 512
            except FileNotFoundError:
                continue
    return found


def test_what_one_mount_commits_another_shows_within_two_seconds(team: Team, server: Server, tmp_path: Path) -> None:
    ann = team.user("ann", server.url)
    bob = team.user("bob", server.url)
    source = _tree(tmp_path / "source")
    ann.run("project", "create", "vision", "--visibility", "open")
    ann.run("put", "-n", "vision/bikes", source)
    with ann.mounted() as hers, bob.mounted() as his:
        assert_same(source, his / "vision/bikes/latest")
        draft = hers / "vision/bikes/.staging/next"
        draft.mkdir()
        (draft / "new").write_text("new")
        os.rename(draft, hers / "vision/bikes/best")
        begin = time.monotonic()
        wait_until(lambda: (his / "vision/bikes/best/new").exists(), "the new alias is seen", SEEN_S)
        assert time.monotonic() - begin < SEEN_S
        wait_until(lambda: (his / "vision/bikes/latest/new").exists(), "latest is seen moved too", SEEN_S)
        assert (his / "vision/bikes/latest/new").read_text() == "new"
        begin = time.monotonic()
        ann.run("alias", "vision/bikes:v0", "best")
        wait_until(lambda: (his / "vision/bikes/best/large.bin").exists(), "the moved alias is seen", SEEN_S)
        assert_same(source, his / "vision/bikes/best")


def test_the_whole_job_of_a_team(deployment: tuple[Team, str, str], tmp_path: Path) -> None:
    team, one, other = deployment
    ann, bob = team.user("ann", one), team.user("bob", other)
    source = _tree(tmp_path / "source")
    ann.run("project", "create", "vision")
    ann.run("put", "-n", "vision/bikes", "-t", "images", source)
    assert "vision" not in bob.run("ls").stdout  # it is private
    team.administrator.run("project", "share", "vision", "bob", "writer")
    with ann.mounted() as hers, bob.mounted() as his:
        assert_same(source, his / "vision/bikes/v0")
        draft = his / "vision/bikes/.staging/next"
        bob.run("stage", "vision/bikes:v0", "next")
        (draft / "d0/new").write_bytes(b"new")
        (draft / "large.bin").unlink()
        os.rename(draft, his / "vision/bikes/best")
        wait_until(lambda: (hers / "vision/bikes/best/d0/new").exists(), "the commit is seen", SEEN_S)
        assert not (hers / "vision/bikes/best/large.bin").exists()
        assert_same(source, hers / "vision/bikes/v0")
    version = ann.json("log", "vision/bikes")[0]
    assert (version["version"], version["type"], version["created_by"].partition("@")[0]) == ("v1", "images", "bob")
    diff = ann.run("diff", "vision/bikes:v0", "vision/bikes:v1", code=1).stdout
    assert "d0/new" in diff
    assert "large.bin" in diff
    bob.run("rm", "--yes", "vision/bikes:v0")
    ann.run("get", "vision/bikes:best", "--root", tmp_path / "got")
    assert (tmp_path / "got/d0/new").read_bytes() == b"new"
    assert team.administrator.json("fsck")["clean"]


def test_a_file_larger_than_the_cache_is_read_whole_within_its_limit(
    team: Team, server: Server, tmp_path: Path
) -> None:
    ann = team.user("ann", server.url)
    size_bytes, limit_bytes, in_flight_bytes = 96 << 20, 24 << 20, 16 << 20
    source = tmp_path / "huge.bin"
    source.write_bytes(random.Random(1).randbytes(size_bytes))
    ann.run("put", "-n", "vision/huge", source)
    reader = team.at_home("ann", server.url, home="reader")
    small = Member(reader.home, {"ARTFS_REGISTRY": server.url, "ARTFS_CACHE_SIZE": str(limit_bytes)})
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            most[0] = max(most[0], _disk_bytes(small.cache))

    with small.mounted() as mount:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            assert filecmp.cmp(source, mount / "vision/huge/latest/huge.bin", shallow=False)
            assert filecmp.cmp(source, mount / "vision/huge/latest/huge.bin", shallow=False)
        finally:
            done.set()
            watcher.join()
    assert 0 < most[0] <= limit_bytes + in_flight_bytes


def test_a_killed_server_leaves_cached_files_readable_and_comes_back_without_a_remount(
    team: Team, tmp_path: Path
) -> None:
    source = _tree(tmp_path / "source", files=40)
    with team.serving() as server:
        port = int(server.url.rpartition(":")[2])
        ann = team.user("ann", server.url)
        ann.run("put", "-n", "vision/bikes", source)
        ann.run("put", "-n", "vision/other", source / "d0")
        with ann.mounted() as mount:
            assert_same(source, mount / "vision/bikes/latest")
            listings = {path: sorted(os.listdir(path)) for path in (mount, mount / "vision", mount / "vision/bikes")}
            server.kill()
            assert_same(source, mount / "vision/bikes/latest")
            assert {path: sorted(os.listdir(path)) for path in listings} == listings
            assert _error(mount / "vision/other/latest/f00000") == errno.EHOSTUNREACH
            with team.serving(port=port):
                wait_until(lambda: os.path.exists(mount / "vision/other/latest/f00000"), "the mount has recovered", 30)
                assert_same(source / "d0", mount / "vision/other/latest")


@pytest.mark.deep  # two timeouts long; a black hole in test_bad_network is the same to a client
def test_a_stopped_server_is_an_error_in_bounded_time_and_no_reader_is_unkillable(
    team: Team, server: Server, tmp_path: Path
) -> None:
    source = _tree(tmp_path / "source", files=40)
    ann = team.user("ann", server.url)
    ann.run("put", "-n", "vision/bikes", source)
    with ann.mounted() as mount:
        assert_same(source / "d0", mount / "vision/bikes/latest/d0")
        server.pause()
        try:
            assert_same(source / "d0", mount / "vision/bikes/latest/d0")
            assert _error(mount / "vision/bikes/latest/large.bin") == errno.EHOSTUNREACH
        finally:
            server.resume()
        wait_until(lambda: _error(mount / "vision/bikes/latest/large.bin") == 0, "the server is asked again", 30)
        assert_same(source, mount / "vision/bikes/latest")


@pytest.mark.deep
def test_a_token_is_in_no_log_no_process_and_no_file_but_the_credentials(
    team: Team, server: Server, tmp_path: Path
) -> None:
    source = _tree(tmp_path / "source", files=10)
    ann = team.user("ann", server.url, login=False)
    token = team.token("ann")
    ann.run("login", server.url, "--token-file", token)
    secret = token.read_bytes().strip().rpartition(b"_")[2]
    token.unlink()
    talkative = Member(ann.home, {**ann.settings, "ARTFS_LOG_LEVEL": "debug"})
    said = [talkative.run("-vv", "put", "-n", "vision/bikes", source)]
    with talkative.mounted() as mount:
        assert_same(source, mount / "vision/bikes/latest")
        said.append(talkative.run("-vv", "status"))
        assert _holders(secret) == []
        server.kill()
        assert _error(mount / "vision/bikes/v7/x") != 0
        said.append(talkative.run("-vv", "ls", code=7))
    assert all(secret.decode() not in done.stdout + done.stderr for done in said)
    files = [path for path in team.directory.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert files == [ann.home / ".config/artfs/credentials.json"]


def _holders(secret: bytes) -> list[str]:
    """Processes that have the secret in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if secret in (process / name).read_bytes():
                    found.append(f"{process}/{name}")
            except OSError:
                continue
    return found


def _error(path: Path) -> int:
    """The errno that reading a file ends with, 0 if it can be read; within a bound."""
    begin = time.monotonic()
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno or -1
    finally:
        assert time.monotonic() - begin < FAILS_S
    return 0
