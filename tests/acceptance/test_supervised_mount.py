"""`artfs mount --supervise`: what its user sees of it, and every way in which it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from artfs.fuse.mount_points import MountState, look_at, mounted_at
from artfs.fuse.process_records import process_started_ticks
from tests.acceptance.user import User, wait_until

pytestmark = [pytest.mark.falsifies("supervised"), pytest.mark.fuse, pytest.mark.serial]

GIVES_UP_S = 180.0


@pytest.fixture
def owner(user: User) -> User:
    """A user with one version."""
    put(user, b"first")
    return user


def put(user: User, data: bytes) -> None:
    (user.home / "data").mkdir(exist_ok=True)
    (user.home / "data/f").write_bytes(data)
    user.run("put", "-q", "-n", "vision/bikes", user.home / "data")


def status(user: User) -> dict[str, Any]:
    (mount,) = user.json("status")["mounts"]
    return dict(mount)


def kill(user: User, mount: Path) -> None:
    """Kill the mount's process, and wait until another has taken its place."""
    killed = status(user)["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: process_started_ticks(killed) is None, "it is dead")
    wait_until(lambda: look_at(mount) is MountState.LIVE, "it is mounted again")


def is_over(pid: int) -> bool:
    return process_started_ticks(pid) is None


@pytest.mark.deep
def test_status_tells_that_a_mount_is_supervised_how_often_it_was_restarted_and_when(owner: User) -> None:
    with owner.mounted("artfs", "--supervise") as mount:
        before = status(owner)["supervisor"]
        assert (before["restarts"], before["restarted_at_ns"]) == (0, None)
        assert "never restarted" in owner.run("status").stdout
        kill(owner, mount)
        wait_until(lambda: status(owner)["supervisor"]["restarts"] == 1, "the restart is noted")
        after = status(owner)["supervisor"]
        assert (after["pid"], after["restarts"]) == (before["pid"], 1)
        assert after["restarted_at_ns"] > 0
        assert "restarted 1 time, last 2" in owner.run("status").stdout
        assert (mount / "vision/bikes/latest/f").read_bytes() == b"first"
        assert len(list(Path(f"/proc/{after['pid']}/task").iterdir())) == 1  # no thread before a fork


@pytest.mark.deep
def test_a_mount_that_is_not_supervised_says_so(owner: User) -> None:
    with owner.mounted():
        assert status(owner)["supervisor"] is None


def _umount(user: User, mount: Path, found: dict[str, Any]) -> None:
    user.run("umount", mount)


def _umount_of_the_system(user: User, mount: Path, found: dict[str, Any]) -> None:
    subprocess.run(["fusermount3", "-u", mount], check=True, timeout=30)


def _signal_to_the_supervisor(user: User, mount: Path, found: dict[str, Any]) -> None:
    os.kill(found["supervisor"]["pid"], signal.SIGTERM)


def _signal_to_the_mount(user: User, mount: Path, found: dict[str, Any]) -> None:
    os.kill(found["pid"], signal.SIGTERM)


def _signals_to_both(user: User, mount: Path, found: dict[str, Any]) -> None:
    for pid in (found["supervisor"]["pid"], found["pid"], found["supervisor"]["pid"]):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.deep
@pytest.mark.parametrize(
    "way",
    [
        _umount,
        _signals_to_both,
        *(
            pytest.param(way, marks=pytest.mark.deep)
            for way in (_umount_of_the_system, _signal_to_the_supervisor, _signal_to_the_mount)
        ),
    ],
)
def test_whoever_takes_it_away_ends_both_processes(
    owner: User, way: Callable[[User, Path, dict[str, Any]], None]
) -> None:
    with owner.mounted("artfs", "--supervise") as mount:
        kill(owner, mount)
        found = status(owner)
        way(owner, mount, found)
        wait_until(lambda: is_over(found["pid"]) and is_over(found["supervisor"]["pid"]), "both have ended", 20)
        assert mounted_at(mount) is None
        assert owner.json("status") == {"mounts": []}
        log = next((owner.home / ".local/state/artfs/logs").iterdir()).read_text()
        assert log.count("unmounted ") == 1, "it closed in order, and once"


@pytest.mark.deep
def test_a_mount_whose_supervisor_dies_goes_on_without(owner: User) -> None:
    with owner.mounted("artfs", "--supervise") as mount:
        os.kill(status(owner)["supervisor"]["pid"], signal.SIGKILL)
        wait_until(lambda: status(owner)["supervisor"] is None, "the supervisor is gone")
        assert (mount / "vision/bikes/latest/f").read_bytes() == b"first"
        owner.run("umount", mount)


@pytest.mark.deep
def test_aliases_that_were_pinned_stay_so(owner: User) -> None:
    with owner.mounted("artfs", "--supervise", "--pin") as mount:
        put(owner, b"second")
        kill(owner, mount)
        assert (mount / "vision/bikes/latest/f").read_bytes() == b"first"


@contextmanager
def in_foreground(user: User, **environment: str) -> Iterator[subprocess.Popen[str]]:
    mount = user.home / "artfs"
    process = user.start("mount", "--foreground", "--supervise", mount, **environment)
    try:
        wait_until(lambda: look_at(mount) is MountState.LIVE, "it is mounted", 30)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        subprocess.run(["fusermount3", "-uqz", mount], check=False, timeout=30)


@pytest.mark.deep
def test_in_the_foreground_it_ends_with_an_interrupt(owner: User) -> None:
    with in_foreground(owner) as process:
        wait_until(lambda: len(owner.json("status")["mounts"]) == 1, "it is written down")
        kill(owner, owner.home / "artfs")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "died: SIGKILL" in said
        assert "again after" in said
        assert mounted_at(owner.home / "artfs") is None


def test_a_service_manager_is_told_when_it_can_be_used(owner: User) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0artfs-test-{os.getpid()}")
        manager.settimeout(60)
        with in_foreground(owner, NOTIFY_SOCKET=f"@artfs-test-{os.getpid()}"):
            said = [manager.recv(4096).decode()]
            while said[-1] != "READY=1":
                said.append(manager.recv(4096).decode())
            kill(owner, owner.home / "artfs")
            while "1 restarts" not in said[-1]:
                said.append(manager.recv(4096).decode())
        assert any("ended by SIGKILL" in state for state in said)


@pytest.fixture
def hopeless(owner: User) -> Iterator[Path]:
    """A mount that died, and whose registry does not open any more."""
    with owner.mounted("artfs", "--supervise") as mount:
        found = status(owner)
        owner.registry.rename(owner.home / "registry")
        owner.registry.touch()
        os.kill(found["pid"], signal.SIGKILL)
        wait_until(lambda: "error" in status(owner), "there is trouble")
        try:
            yield mount
        finally:
            if (owner.home / "registry").exists():
                owner.registry.unlink(missing_ok=True)
                (owner.home / "registry").rename(owner.registry)


def test_what_cannot_be_mounted_again_is_told_and_can_be_unmounted(owner: User, hopeless: Path) -> None:
    wait_until(lambda: str(owner.registry) in status(owner)["error"], "status tells why")
    assert status(owner)["pid"] is None
    assert "being mounted" in owner.run("status").stdout
    assert look_at(hopeless) is MountState.DEAD, "it looked like an empty directory"
    refused = owner.run("mount", hopeless, code=4)
    assert "about to mount" in refused.stderr
    supervisor = status(owner)["supervisor"]["pid"]
    owner.run("umount", hopeless)
    assert is_over(supervisor)
    assert mounted_at(hopeless) is None
    assert owner.json("status") == {"mounts": []}


@pytest.mark.deep
def test_what_cannot_be_mounted_for_a_moment_comes_back(owner: User, hopeless: Path) -> None:
    owner.registry.unlink()
    (owner.home / "registry").rename(owner.registry)
    wait_until(lambda: look_at(hopeless) is MountState.LIVE, "it is mounted again", 60)
    assert (hopeless / "vision/bikes/latest/f").read_bytes() == b"first"


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_what_cannot_be_mounted_again_is_given_up(owner: User, hopeless: Path) -> None:
    supervisor = status(owner)["supervisor"]["pid"]
    wait_until(lambda: is_over(supervisor), "the supervisor gives up", GIVES_UP_S)
    log = next((owner.home / ".local/state/artfs/logs").iterdir()).read_text()
    assert "times in a row: giving up" in log
    assert look_at(hopeless) is MountState.DEAD
    owner.registry.unlink()
    (owner.home / "registry").rename(owner.registry)
    owner.run("mount", hopeless)
    assert (hopeless / "vision/bikes/latest/f").read_bytes() == b"first"
