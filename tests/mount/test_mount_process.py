"""The life of a mount: how it begins, what it says of itself, and every way it can end."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from artfs.errors import Busy, NotFound
from artfs.fuse import mount_points
from artfs.fuse.mount import unmount
from artfs.fuse.mount_points import MountState, look_at, mounted_at
from tests.mount.mounting import WAIT_S, Machine, MountFailed, end, wait_until

pytestmark = [pytest.mark.falsifies("bounded"), pytest.mark.serial]


def test_the_mount_is_usable_when_the_command_returns(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount() as mount:
        assert (mount / "vision/bikes/latest/file").read_bytes() == b"content"
        assert mounted_at(mount.path) == "fuse.artfs"


def test_a_missing_mount_point_is_made(machine: Machine) -> None:
    with machine.mount("a/b/c") as mount:
        assert os.listdir(mount.path) == []


def test_unmounting_ends_the_process_and_removes_every_trace(machine: Machine) -> None:
    with machine.mount() as mount:
        socket = machine.records.socket_path(mount.path)
        unmount(mount.path, machine.records)
        assert not mount.is_serving()
        assert mounted_at(mount.path) is None
        assert machine.records.list() == []
        assert not socket.exists()


def test_umount_of_the_system_is_as_good(machine: Machine) -> None:
    with machine.mount() as mount:
        subprocess.run(["fusermount3", "-u", mount.path], check=True, timeout=20)
        wait_until(lambda: not mount.is_serving(), "the process ends")
        wait_until(lambda: machine.records.list() == [], "the record goes")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_unmount(machine: Machine, number: signal.Signals) -> None:
    with machine.mount() as mount:
        os.kill(mount.pid, number)
        wait_until(lambda: not mount.is_serving(), "the process ends")
        assert mounted_at(mount.path) is None
        assert machine.records.list() == []


def test_a_signal_ends_a_mount_in_use_within_its_bound(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount() as mount:
        fd = os.open(mount / "vision/bikes/latest/file", os.O_RDONLY)
        os.kill(mount.pid, signal.SIGTERM)
        wait_until(lambda: mounted_at(mount.path) is None, "it is detached")
        assert os.read(fd, 100) == b"content"
        wait_until(lambda: not mount.is_serving(), "the process ends", 20)
        with suppress(OSError):  # ENOTCONN, but closed all the same
            os.close(fd)


def test_a_signal_to_a_mount_that_was_detached_leaves_the_one_in_its_place(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount() as first:
        held = os.open(first / "vision/bikes/latest/file", os.O_RDONLY)
        try:
            mount_points.unmount_now(first.path, lazy=True)
            with machine.mount() as second:
                assert first.is_serving()
                os.kill(first.pid, signal.SIGTERM)
                wait_until(lambda: not first.is_serving(), "the process ends", 3 * WAIT_S)
                assert (second / "vision/bikes/latest/file").read_bytes() == b"content"
                assert second.is_serving()
        finally:
            with suppress(OSError):
                os.close(held)


def test_a_mount_in_use_is_not_unmounted_unless_lazily(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount() as mount:
        with open(mount / "vision/bikes/latest/file", "rb"):
            with pytest.raises(Busy):
                unmount(mount.path, machine.records)
            assert mount.is_serving()
        unmount(mount.path, machine.records)


def test_a_second_mount_at_the_same_place_is_refused(machine: Machine) -> None:
    with machine.mount() as mount:
        with pytest.raises(MountFailed, match="a mount of artfs already") as caught:
            machine.start(mount.path)
        assert caught.value.code == "busy"
        assert os.listdir(mount.path) == []


def test_a_directory_that_is_not_empty_is_refused(machine: Machine) -> None:
    (machine.directory / "mnt").mkdir()
    (machine.directory / "mnt/precious").touch()
    with pytest.raises(MountFailed, match="not empty"):
        machine.start(machine.directory / "mnt")
    assert mounted_at(machine.directory / "mnt") is None


def test_a_file_as_mount_point_is_refused(machine: Machine) -> None:
    (machine.directory / "mnt").touch()
    with pytest.raises(MountFailed, match="not a directory"):
        machine.start(machine.directory / "mnt")


def test_the_reason_why_a_registry_does_not_open_reaches_the_terminal(machine: Machine) -> None:
    machine.registry_dir.mkdir()
    (machine.registry_dir / "something").touch()
    with pytest.raises(MountFailed) as caught:
        machine.start(machine.directory / "mnt")
    assert str(machine.registry_dir) in str(caught.value)
    assert mounted_at(machine.directory / "mnt") is None


def test_a_killed_mount_answers_enotconn_and_is_replaced(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount() as mount:
        mount.kill()
        assert look_at(mount.path) is MountState.DEAD
        with pytest.raises(OSError, match="not connected") as caught:
            os.listdir(mount.path)
        assert caught.value.errno == errno.ENOTCONN
        assert machine.records.list() == []
        again = machine.start(mount.path)
        try:
            assert (again / "vision/bikes/latest/file").read_bytes() == b"content"
        finally:
            end(again)


def test_a_dead_mount_can_be_unmounted(machine: Machine) -> None:
    with machine.mount() as mount:
        mount.kill()
        unmount(mount.path, machine.records)
        assert mounted_at(mount.path) is None


def test_unmounting_what_is_not_mounted_is_an_error(machine: Machine) -> None:
    with pytest.raises(NotFound):
        unmount(machine.directory, machine.records)


def test_a_stuck_mount_is_not_waited_for(machine: Machine) -> None:
    with machine.mount() as mount:
        os.kill(mount.pid, signal.SIGSTOP)
        try:
            assert look_at(mount.path, 0.5) is MountState.STUCK
        finally:
            os.kill(mount.pid, signal.SIGCONT)
        assert look_at(mount.path) is MountState.LIVE


def test_status_tells_process_memory_and_what_is_open(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount(read_only=True) as mount, open(mount / "vision/bikes/latest/file", "rb") as file:
        file.read()
        status = mount.status()
    assert status["pid"] == mount.pid
    assert status["mountpoint"] == str(mount.path)
    assert status["read_only"]
    assert status["filesystem"]["open"]["files"] == 1
    assert 10 << 20 < status["memory_bytes"] < 400 << 20


def test_only_the_owner_may_ask_for_status(machine: Machine) -> None:
    with machine.mount() as mount:
        socket = machine.records.socket_path(mount.path)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def test_asking_for_status_loads_neither_pyfuse3_nor_trio() -> None:
    code = "import sys, artfs.fuse.mount; sys.exit(bool({'trio', 'pyfuse3'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=Path(__file__).parents[2])


def test_a_mount_point_with_blanks_and_umlauts_works(machine: Machine) -> None:
    machine.put("vision/bikes", {"file": b"content"})
    with machine.mount("mäh bäh") as mount:
        assert (mount / "vision/bikes/latest/file").read_bytes() == b"content"
        assert mount.path in mount_points.mounts_of_artfs()
