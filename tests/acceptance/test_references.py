"""References as users have them: on the command line and in a mount, from a registry of their own and from a server."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import User, wait_until
from tests.network.web import Web, web

pytestmark = [pytest.mark.falsifies("references", "verified", "one-version")]

MIB = 1 << 20
BODY = Random(1).randbytes(3 * MIB + 7)
OTHER = Random(2).randbytes(3 * MIB + 7)


@pytest.fixture
def host() -> Iterator[Web]:
    with web() as served:
        yield served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Team, Server]]:
    team = Team(tmp_path, {"ARTFS_REGISTRY": str(tmp_path / "registry")})
    with team.serving() as running:
        yield team, running


@pytest.fixture(params=["embedded", "remote"])
def someone(request: pytest.FixtureRequest, tmp_path: Path, host: Web) -> Iterator[User]:
    """A user who may follow references to `host`."""
    settings = {"ARTFS_REFERENCE_HOSTS": host.host, "ARTFS_REGISTRY": str(tmp_path / "registry")}
    if request.param == "embedded":
        home = tmp_path / "home"
        home.mkdir()
        yield Member(home, settings)
        return
    team, running = request.getfixturevalue("server")
    alice = team.user("alice", running.url, admin=True)
    yield Member(alice.home, {**alice.settings, "ARTFS_REFERENCE_HOSTS": host.host})


def _log(user: User) -> str:
    (log,) = (user.home / ".local/state/artfs/logs").glob("*.log")
    return log.read_text()


def _refusal(path: Path, offset: int = 0) -> int | None:
    """The errno of reading one byte, by a process of its own: the kernel keeps pages of files that are open."""
    script = """if True:
        import os, sys
        fd = os.open(sys.argv[1], os.O_RDONLY)
        try:
            os.pread(fd, 1, int(sys.argv[2]))
        except OSError as error:
            print(error.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", script, path, str(offset)], capture_output=True, text=True, timeout=120, check=True
    )
    return int(done.stdout) if done.stdout else None


def test_a_version_of_references_is_read_like_any_other(someone: User, host: Web, tmp_path: Path) -> None:
    uri = host.put("/raw/a.bin", BODY)
    someone.run("put", "-n", "vision/raw", "--reference", uri, "--reference-as", "docs/b.txt", host.put("/b", b"text"))
    assert host.gets() == []
    a = next(row for row in someone.json("ls", "-R", "vision/raw:v0") if row["path"] == "a.bin")
    assert (a["kind"], a["uri"], a["size_bytes"], a["sha256"]) == ("reference", uri, len(BODY), None)
    assert a["etag"] == host.pages["/raw/a.bin"].told_etag
    with someone.mounted() as mount:
        version = mount / "vision/raw/v0"
        subprocess.run(["ls", "-lR", version], check=True, capture_output=True, timeout=60)
        status = (version / "a.bin").stat()
        assert (status.st_size, oct(status.st_mode)) == (len(BODY), "0o100444")
        assert os.getxattr(version / "a.bin", "user.artfs.reference").decode() == uri
        with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
            os.getxattr(version / "a.bin", "user.artfs.sha256")
        assert host.gets() == []
        with (version / "a.bin").open("rb", buffering=0) as file:
            file.seek(2 * MIB)
            assert file.read(100) == BODY[2 * MIB :][:100]
        assert 0 < len(host.gets()) <= 2
        assert (version / "a.bin").read_bytes() == BODY
        assert (version / "docs/b.txt").read_bytes() == b"text"
    someone.run("get", "vision/raw:v0", "--root", tmp_path / "got")
    assert (tmp_path / "got/a.bin").read_bytes() == BODY
    assert (tmp_path / "got/docs/b.txt").read_bytes() == b"text"


def test_a_changed_source_is_estale_and_never_mixed(someone: User, host: Web) -> None:
    someone.run("put", "-n", "vision/raw", "--reference", host.put("/a.bin", BODY))
    with someone.mounted() as mount:
        path = mount / "vision/raw/latest/a.bin"
        with path.open("rb", buffering=0) as file:
            assert file.read(10) == BODY[:10]
            host.put("/a.bin", OTHER)
            with pytest.raises(OSError, match=os.strerror(errno.ESTALE)) as refused:
                os.pread(file.fileno(), 10, 3 * MIB)
            assert refused.value.errno == errno.ESTALE
            assert os.pread(file.fileno(), 10, 0) == BODY[:10]
        assert _refusal(path, 2 * MIB) == errno.ESTALE
        assert "/a.bin is not what it was when it was referred to" in _log(someone)


def test_an_unreachable_source_is_eio_with_the_reason_in_the_log(someone: User, host: Web) -> None:
    someone.run("put", "-n", "vision/raw", "--reference", host.put("/a.bin", BODY))
    host.pages["/a.bin"].status = 503
    with someone.mounted() as mount:
        path = mount / "vision/raw/latest/a.bin"
        assert _refusal(path) == errno.EIO
        assert "it answered 503" in _log(someone)
        host.pages["/a.bin"].status = 0
        subprocess.run(["timeout", "30", "sh", "-c", f"until cat {path} >/dev/null; do sleep 0.2; done"], check=True)
        assert path.read_bytes() == BODY


def test_a_host_that_may_not_be_followed_is_refused_and_the_setting_is_named(someone: User, host: Web) -> None:
    uri = host.put("/a.bin", BODY)
    someone.run("put", "-n", "vision/raw", "--reference", uri)
    done = someone.run("put", "-n", "vision/other", "--reference", uri, code=5, ARTFS_REFERENCE_HOSTS="public")
    assert "reference_hosts" in done.stderr
    assert "vision/other" not in someone.run("ls", "vision").stdout
    assert "begins with a scheme" in someone.run("put", "-n", "vision/other", "--reference", "a.bin", code=2).stderr
    done = someone.run("get", "vision/raw", "--root", someone.home / "got", code=5, ARTFS_REFERENCE_SCHEMES="s3")
    assert "reference_schemes" in done.stderr
    strict = Member(someone.home, {**_settings(someone), "ARTFS_REFERENCE_HOSTS": "public"})
    with strict.mounted("strict") as mount:
        path = mount / "vision/raw/latest/a.bin"
        assert _refusal(path) == errno.EACCES
        assert "reference_hosts" in _log(someone)
        assert os.getxattr(path, "user.artfs.reference").decode() == uri  # to see it, it need not be followed
    assert host.gets() == []


def _settings(user: User) -> dict[str, str]:
    assert isinstance(user, Member)
    return dict(user.settings)


def test_drafts_keep_references_until_they_are_written_to(someone: User, host: Web) -> None:
    uri = host.put("/a.bin", BODY)
    someone.run("put", "-n", "vision/raw", "--reference", uri, "--reference-as", "b.bin", uri)
    someone.run("put", "-n", "vision/raw", "--reference", uri, "--reference-as", "b.bin", uri)
    with someone.mounted() as mount:
        staging = mount / "vision/raw/.staging"
        (staging / "linked").mkdir()
        subprocess.run(["cp", "-al", f"{mount}/vision/raw/v0/.", staging / "linked"], check=True, timeout=60)
        assert host.gets() == []
        assert os.getxattr(staging / "linked/a.bin", "user.artfs.reference").decode() == uri
        assert (staging / "linked/a.bin").read_bytes() == BODY
        with (staging / "linked/b.bin").open("r+b") as file:
            file.write(b"new")
        with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
            os.getxattr(staging / "linked/b.bin", "user.artfs.reference")
        os.rename(staging / "linked", mount / "vision/raw/best")
        someone.run("stage", "vision/raw:v0", "next")
        (staging / "next/c.txt").write_text("c")
        (staging / "next/a.bin").chmod(0o755)
        os.rename(staging / "next", mount / "vision/raw/other")
        assert (mount / "vision/raw/best/b.bin").read_bytes() == b"new" + BODY[3:]
        assert os.getxattr(mount / "vision/raw/other/b.bin", "user.artfs.reference").decode() == uri
        assert (mount / "vision/raw/other/a.bin").stat().st_mode & 0o777 == 0o555
        kinds = {row["path"]: row["kind"] for row in someone.json("ls", "vision/raw:best")}
        assert kinds == {"a.bin": "reference", "b.bin": "file"}
        assert os.getxattr(mount / "vision/raw/other/a.bin", "user.artfs.reference").decode() == uri
    changed = someone.run("diff", "vision/raw:v0", "vision/raw:best", code=1).stdout
    assert "b.bin" in changed
    assert "a.bin" not in changed


def test_a_host_that_says_nothing_keeps_nobody_else_waiting(someone: User, host: Web) -> None:
    gate = threading.Event()
    for i in range(12):
        host.put(f"/{i}.bin", BODY, gate=gate)
    named = [part for i in range(12) for part in ("--reference", f"{host.url}/{i}.bin")]
    someone.run("put", "-n", "vision/stuck", *named)
    plain = someone.home / "plain.txt"
    plain.write_text("plain")
    someone.run("put", "-n", "vision/plain", plain)
    with someone.mounted() as mount:
        stuck = [
            subprocess.Popen(["cat", mount / f"vision/stuck/latest/{i}.bin"], stdout=subprocess.DEVNULL)
            for i in range(12)
        ]
        try:
            wait_until(lambda: len(host.gets()) >= 8, "as many are asked for as there are threads")
            assert (mount / "vision/plain/latest/plain.txt").read_text() == "plain"
            assert {reader.poll() for reader in stuck} == {None}
        finally:
            gate.set()
        assert {reader.wait(60) for reader in stuck} == {0}


def test_prefetched_references_need_no_source(someone: User, host: Web) -> None:
    uri = host.put("/a.bin", BODY)
    someone.run("put", "-n", "vision/raw", "--reference", uri)
    done = someone.json("prefetch", "vision/raw")
    assert (done["references"], done["fetched_reference_bytes"], done["lost_blocks"]) == (1, len(BODY), 0)
    del host.pages["/a.bin"]
    assert someone.json("prefetch", "vision/raw")["fetched_reference_bytes"] == 0
    with someone.mounted() as mount:
        assert (mount / "vision/raw/latest/a.bin").read_bytes() == BODY


def test_pinned_references_stay_when_everything_else_goes(server: tuple[Team, Server], host: Web) -> None:
    team, running = server
    alice = team.user("alice", running.url, admin=True)
    follower = Member(alice.home, {**alice.settings, "ARTFS_REFERENCE_HOSTS": host.host})
    follower.run("put", "-n", "vision/raw", "--reference", host.put("/a.bin", BODY))
    pinned = follower.json("cache", "pin", "vision/raw")
    assert (pinned["lost_objects"], pinned["fetched_bytes"] >= len(BODY)) == (0, True)
    assert follower.json("cache", "pin", "vision/raw")["fetched_bytes"] == 0
    follower.run("cache", "cleanup", "0")
    del host.pages["/a.bin"]
    follower.run("get", "vision/raw", "--root", alice.home / "got")
    assert (alice.home / "got/a.bin").read_bytes() == BODY
    follower.run("cache", "unpin", "vision/raw")
    follower.run("cache", "cleanup", "0")
    follower.run("get", "vision/raw", "--root", alice.home / "again", code=7)


def test_checksums_are_noted_and_shown(someone: User, host: Web) -> None:
    uri = host.put("/a.bin", BODY, etag="none")
    someone.run("put", "-n", "vision/raw", "--reference", uri)
    assert someone.run("ls", "-l", "vision/raw:v0").stdout.endswith(f"  a.bin -> {uri}\n")
    assert someone.run("ls", "vision/raw:v0").stdout == "a.bin\n"
    expected = hashlib.sha256(BODY).hexdigest()
    (row,) = someone.json("ls", "vision/raw:v0")
    assert row["sha256"] == expected
    with someone.mounted() as mount:
        assert os.getxattr(mount / "vision/raw/v0/a.bin", "user.artfs.sha256").decode() == expected


def test_files_are_referred_to_only_in_a_registry_of_this_machine(user: User, server: tuple[Team, Server]) -> None:
    data = user.home / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.txt").write_text("a")
    (data / "sub/b.txt").write_text("b")
    user.run("put", "-n", "vision/raw", "--reference", data.as_uri())
    with user.mounted("shared", "--allow-other") as shared:
        assert _refusal(shared / "vision/raw/v0/sub/b.txt") == errno.EACCES
    with user.mounted() as mount:
        version = mount / "vision/raw/v0"
        assert (version / "sub/b.txt").read_text() == "b"
        (data / "a.txt").write_text("A")
        assert _refusal(version / "a.txt") == errno.ESTALE
        (data / "sub/b.txt").unlink()
    team, running = server
    alice = team.user("alice", running.url, admin=True)
    done = alice.run(
        "put", "-n", "vision/raw", "--reference", data.as_uri(), code=5, ARTFS_REFERENCE_SCHEMES="file,https"
    )
    assert "directory of this machine" in done.stderr


def test_no_credentials_reach_a_references_host(host: Web, server: tuple[Team, Server]) -> None:
    team, running = server
    team.administrator.run("user", "add", "alice", "--admin")
    token_file = team.token("alice")
    token = token_file.read_text().strip()
    alice = team.at_home("alice", running.url, login=False)
    alice.run("login", running.url, "--token-file", token_file)
    (alice.home / ".netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    (alice.home / ".netrc").chmod(0o600)
    host.put("/moved.bin", b"", location="/a.bin")
    follower = Member(alice.home, {**alice.settings, "ARTFS_REFERENCE_HOSTS": host.host, "ARTFS_TOKEN": token})
    follower.run(
        "put", "-n", "vision/raw", "--reference", host.put("/a.bin", BODY), "--reference", f"{host.url}/moved.bin"
    )
    follower.run("get", "vision/raw", "--root", alice.home / "got")
    assert len(host.gets()) >= 2
    for request in host.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert token not in repr(request)
        assert "hidden" not in repr(request)


def test_fsck_follows_no_references(user: User, host: Web) -> None:
    uri = host.put("/a.bin", BODY)
    user.run("put", "-n", "vision/raw", "--reference", uri, ARTFS_REFERENCE_HOSTS=host.host)
    host.requests.clear()
    user.run("fsck")
    assert host.requests == []
