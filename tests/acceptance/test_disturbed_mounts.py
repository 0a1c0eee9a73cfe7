"""Mounts that are in use when they are unmounted, begun twice at one place, or stopped for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from artfs.fuse.mount_points import mounted_at
from tests.acceptance.team import Member, Team
from tests.acceptance.user import User, wait_until
from tests.network.proxy import Proxy
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("supervised", "no-hang"), pytest.mark.fuse, pytest.mark.serial]

AT_ONCE = 4
STOPPED_S, LONG_S = 1.5, 45.0  # the second longer than any request is given
SEEN_S = 20.0
_READ = "import sys; print(flush=True); sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"


@pytest.fixture
def owner(user: User) -> User:
    """A user with one version."""
    (user.home / "data").mkdir()
    (user.home / "data/f").write_bytes(b"first")
    user.run("put", "-q", "-n", "vision/bikes", user.home / "data")
    return user


@pytest.mark.deep
@pytest.mark.parametrize("options", [(), ("--supervise",)])
def test_a_mount_in_use_is_not_unmounted_and_lazily_loses_nothing(owner: User, options: tuple[str, ...]) -> None:
    with owner.mounted("artfs", *options) as mount:
        draft = mount / "vision/bikes/.staging/next"
        draft.mkdir()
        file = os.open(draft / "f", os.O_WRONLY | os.O_CREAT)
        try:
            os.write(file, b"begun")
            refused = owner.run("umount", mount, code=4)
            assert "busy" in refused.stderr.lower()
            assert "artfs umount --lazy" in refused.stderr
            os.write(file, b", done")
            owner.run("umount", "--lazy", mount)
            with pytest.raises(OSError):  # noqa: PT011 (any will do: its mount is gone)
                os.write(file, b", late")
        finally:
            with suppress(OSError):  # ENOTCONN, but closed all the same
                os.close(file)
        assert mounted_at(mount) is None
        assert owner.json("status") == {"mounts": []}
    with owner.mounted() as mount:
        assert (mount / "vision/bikes/.staging/next/f").read_bytes() == b"begun, done"


@pytest.mark.parametrize("options", [(), pytest.param(("--supervise",), marks=pytest.mark.deep)])
def test_of_mounts_that_begin_at_one_place_at_once_one_succeeds(owner: User, options: tuple[str, ...]) -> None:
    mount = owner.home / "artfs"
    starting = [owner.start("mount", mount, *options) for _ in range(AT_ONCE)]
    try:
        said = [process.communicate(timeout=120)[1] for process in starting]
        codes = sorted(process.returncode for process in starting)
        assert codes == [0, *[4] * (AT_ONCE - 1)], said
        assert all("already" in text or "just now" in text for text in said if text), said
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        assert sum(f" {mount} " in line for line in lines) == 1
        assert (mount / "vision/bikes/latest/f").read_bytes() == b"first"
        tried("mounts that begin at one place at once", AT_ONCE)
    finally:
        owner.run("umount", mount, code=None)
        while mounted_at(mount) is not None:
            subprocess.run(["fusermount3", "-uz", mount], check=False, timeout=30)


@pytest.mark.deep
def test_a_second_mount_where_one_is_is_refused(owner: User) -> None:
    with owner.mounted("artfs", "--supervise") as mount:
        refused = owner.run("mount", mount, code=4)
        assert "is a mount of artfs already" in refused.stderr
        assert f"artfs umount {mount}" in refused.stderr
        assert (mount / "vision/bikes/latest/f").read_bytes() == b"first"


def read(path: Path) -> bytes | None:
    """What is in it, if the registry is in reach."""
    with suppress(OSError):
        return path.read_bytes()
    return None


@contextmanager
def stopped(user: User) -> Iterator[None]:
    """All processes of the user's mounts are stopped, as a machine is that is suspended."""
    pids = [mount["pid"] for mount in user.json("status")["mounts"]]
    pids += [mount["supervisor"]["pid"] for mount in user.json("status")["mounts"] if mount["supervisor"]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def waiting_reader(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", _READ, path], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        try:
            yield reader
        finally:
            reader.kill()


def wait_while_stopped(reader: subprocess.Popen[bytes], stopped_s: float) -> None:
    deadline = time.monotonic() + stopped_s
    while time.monotonic() < deadline:
        assert reader.poll() is None, "a reader of a stopped mount waits"
        time.sleep(0.05)


@pytest.mark.deep
def test_a_mount_that_was_stopped_goes_on_where_it_was(owner: User) -> None:
    with owner.mounted("artfs", "--supervise") as mount:
        (mount / "vision/bikes/.staging/next").mkdir()
        with (mount / "vision/bikes/.staging/next/f").open("wb") as file:
            file.write(b"before, ")
            file.flush()
            before = owner.json("status")["mounts"]
            with stopped(owner), waiting_reader(mount / "vision/bikes/v0/f") as reader:
                wait_while_stopped(reader, STOPPED_S)
                for known in before:
                    os.kill(known["pid"], signal.SIGCONT)
                assert reader.stdout is not None
                assert reader.stdout.read() == b"first"
            file.write(b"after")
        assert (mount / "vision/bikes/.staging/next/f").read_bytes() == b"before, after"
        (mount / "vision/bikes/.staging/next").rename(mount / "vision/bikes/best")
        after = owner.json("status")["mounts"]
        assert [m["pid"] for m in after] == [m["pid"] for m in before]
        assert [m["supervisor"] for m in after] == [m["supervisor"] for m in before]


@pytest.mark.deep
@pytest.mark.parametrize("stopped_s", [STOPPED_S, LONG_S])
def test_a_mount_of_a_far_registry_whose_connections_broke_meanwhile_sees_what_changed(
    tmp_path: Path, stopped_s: float
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(name.encode() * 1000)
    team = Team(tmp_path, {})
    with team.serving() as server, Proxy.to(server.url) as proxy:
        ann = team.user("ann", server.url)
        ann.run("put", "-q", "-n", "vision/bikes", tmp_path / "a")
        reader = team.at_home("ann", server.url, home="reader", login=False)
        reader.run("login", proxy.url, "--token-file", team.token("ann", "read"))
        far = Member(reader.home, {"ARTFS_REGISTRY": proxy.url})
        with far.mounted("artfs", "--supervise") as mount:
            latest = mount / "vision/bikes/latest/f"
            assert latest.read_bytes() == b"a" * 1000
            with stopped(far):
                proxy.reset()
                ann.run("put", "-q", "-n", "vision/bikes", tmp_path / "b")
                with waiting_reader(mount / "vision/bikes/v0/none") as waiting:
                    wait_while_stopped(waiting, stopped_s)
                    proxy.heal()
            wait_until(lambda: read(latest) == b"b" * 1000, "the alias has moved", SEEN_S)
            assert far.json("status")["mounts"][0]["supervisor"]["restarts"] == 0
        tried("seconds that a mount of a far registry was stopped", round(stopped_s))
