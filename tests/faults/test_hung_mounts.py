"""A mount whose event loop stands still, or whose trio has failed, ends instead of hanging who asks; a busy one does not.

Signals bring a running mount there (`changed_artfs.py`). That it comes there by itself, for want of memory, is rare.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from artfs.fuse import stillness
from artfs.fuse.mount_points import MountState, abort_requests, device_of, look_at
from artfs.fuse.mount_records import MountRecords
from artfs.fuse.process_records import process_started_ticks
from tests.acceptance.user import User, wait_until
from tests.reliability.trials import measured, tried

pytestmark = [
    pytest.mark.falsifies("no-end", "supervised"),
    pytest.mark.fuse,
    pytest.mark.serial,
]

CHANGED = Path(__file__).with_name("changed_artfs.py")
STANDS_STILL, COMPUTES, IS_SLOW, TRIO_FAILS = signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMIN + 1
INVALIDATES = signal.SIGRTMIN + 2
RECOVERS_S = 2.0
NOTICED_S = 4.0  # as changed_artfs.py has it, and some
LEFT_ALONE_S = 8.0
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
_READ = "import sys; open(sys.argv[1], 'rb').read()"


@pytest.fixture
def owner(tmp_path: Path) -> User:
    """A user with a version of two files."""
    user = User(tmp_path / "home")
    user.home.mkdir()
    (user.home / "data").mkdir()
    for name in ("f", "g"):
        (user.home / "data" / name).write_bytes(name.encode() * 300_000)
    user.run("put", "-q", "-n", "p/a", user.home / "data")
    return user


@contextmanager
def disturbed(user: User, change: str, *options: str) -> Iterator[Path]:
    """A mount that signals disturb, gone afterwards whatever happened."""
    mount = user.home / "artfs"
    command: list[str | Path] = [sys.executable, CHANGED, change, "mount", mount, *options]
    subprocess.run(command, env=user.environment(), stdin=subprocess.DEVNULL, check=True, timeout=60)
    try:
        yield mount
    finally:
        state = user.home / ".local/state/artfs"
        record = MountRecords(state, state / "run").find(mount)
        if record is not None and look_at(mount) is not MountState.LIVE:
            os.kill(record.pid, signal.SIGKILL)
            abort_requests(mount, device_of(mount) or "")
        user.run("umount", "--lazy", mount, code=None)
        if os.path.ismount(mount):
            subprocess.run(["fusermount3", "-uz", mount], check=False, timeout=30)


def status(user: User) -> dict[str, Any]:
    (mount,) = user.json("status")["mounts"]
    return dict(mount)


def log_of(user: User) -> str:
    (log,) = (user.home / ".local/state/artfs/logs").iterdir()
    return log.read_text()


@contextmanager
def reading(path: Path, script: str = _READ) -> Iterator[subprocess.Popen[bytes]]:
    """A program that reads a file, or does what the script says, and waits for the mount."""
    command: list[str | Path] = [sys.executable, "-c", script, path]
    reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield reader
    finally:
        reader.kill()
        reader.communicate(timeout=30)


@contextmanager
def never_hanging(pid: int, timeout_s: float = 60.0) -> Iterator[None]:
    """A mount that hangs after all is killed from outside: this process may wait for it too."""
    script = "import os, signal, sys, time; time.sleep(float(sys.argv[1])); os.kill(int(sys.argv[2]), signal.SIGKILL)"
    killer = subprocess.Popen([sys.executable, "-c", script, str(timeout_s), str(pid)], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        killer.kill()
        killer.wait(timeout=30)


def is_readable(mount: Path) -> bool:
    with suppress(OSError):
        return (mount / "p/a/v0/f").read_bytes() == b"f" * 300_000
    return False


@pytest.mark.parametrize(
    ("number", "within_s", "reason"),
    [
        pytest.param(STANDS_STILL, NOTICED_S, "it has stood still", id="stands still"),
        pytest.param(TRIO_FAILS, 0.5, "one of its own tasks failed", id="trio fails"),
    ],
)
def test_a_mount_whose_event_loop_has_failed_is_mounted_again(
    owner: User, number: int, within_s: float, reason: str
) -> None:
    with disturbed(owner, "disturbed-watched", "--supervise") as mount:
        before = status(owner)
        with never_hanging(before["pid"]):
            os.kill(before["pid"], number)
            begun = time.monotonic()
            with reading(mount / "p/a/v0/g") as reader:
                wait_until(lambda: process_started_ticks(before["pid"]) is None, "it has ended", within_s + 1)
                wait_until(lambda: is_readable(mount), "it can be read again", RECOVERS_S)
                measured("from an event loop that failed until files can be read, seconds", [time.monotonic() - begun])
                reader.wait(timeout=10)  # with an error, or with what the next mount told
        assert status(owner)["supervisor"]["restarts"] == 1
        assert reason in log_of(owner)
        tried("event loops that failed")


def test_without_a_supervisor_it_ends_too_and_does_not_look_empty(owner: User) -> None:
    with disturbed(owner, "disturbed-watched") as mount:
        pid = status(owner)["pid"]
        with never_hanging(pid):
            os.kill(pid, STANDS_STILL)
            with reading(mount / "p/a/v0/g") as reader:
                wait_until(lambda: process_started_ticks(pid) is None, "it has ended", NOTICED_S + 1)
                _, complaint = reader.communicate(timeout=10)
        assert reader.returncode != 0
        assert any(text in complaint for text in (b"ConnectionAborted", b"not connected", b"Input/output")), complaint
        assert look_at(mount) is MountState.DEAD
        assert "in stand_still" in log_of(owner), "it says where it stood"
        tried("event loops that failed")


def assert_left_alone(pid: int, for_s: float = LEFT_ALONE_S) -> None:
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert process_started_ticks(pid) is not None, "it was ended"
        time.sleep(0.05)


def waits_in_the_kernel(pid: int) -> bool:
    """Whether a thread cannot be killed just now."""
    with suppress(OSError):
        states = [file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{pid}/task").glob("*/stat")]
        return "D" in states
    return False


def test_a_mount_that_is_killed_while_it_tells_the_kernel_to_forget_a_name_is_mounted_again(owner: User) -> None:
    with disturbed(owner, "disturbed", "--supervise") as mount:
        before = status(owner)
        with never_hanging(before["pid"]):
            os.kill(before["pid"], INVALIDATES)
            with reading(mount / "project", "import os, sys; os.mkdir(sys.argv[1])") as maker:
                wait_until(lambda: waits_in_the_kernel(before["pid"]), "a thread waits in the kernel")
                os.kill(before["pid"], signal.SIGKILL)
                assert maker.wait(timeout=10) != 0
            wait_until(lambda: is_readable(mount), "it can be read again", RECOVERS_S)
        assert status(owner)["supervisor"]["restarts"] == 1
        tried("kills of a mount that waited in the kernel for its caller")


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    assert_left_alone(pid)
    os.kill(pid, signal.SIGCONT)


def hold_in_a_debugger(pid: int) -> None:
    """Its event loop only: its other threads go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None):
        if ctypes.get_errno() == errno.EPERM:
            pytest.skip("this user may not look into processes with ptrace")
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0)
    assert_left_alone(pid)
    assert libc.ptrace(PTRACE_DETACH, pid, None, None) == 0


def send(number: int) -> Callable[[int], None]:
    def disturb(pid: int) -> None:
        os.kill(pid, number)
        assert_left_alone(pid)

    return disturb


LEFT_ALONE = [
    pytest.param(send(COMPUTES), id="computes"),
    pytest.param(send(IS_SLOW), id="is slow", marks=pytest.mark.deep),
    pytest.param(stop, id="stopped", marks=pytest.mark.deep),
    pytest.param(hold_in_a_debugger, id="held in a debugger"),
    pytest.param(assert_left_alone, id="has nothing to do", marks=pytest.mark.deep),
]


@pytest.mark.parametrize("disturb", LEFT_ALONE)
def test_a_mount_that_is_only_busy_or_held_is_left_alone(owner: User, disturb: Callable[[int], None]) -> None:
    with disturbed(owner, "disturbed-watched", "--supervise") as mount:
        before = status(owner)
        with never_hanging(before["pid"]):
            disturb(before["pid"])
            wait_until(lambda: is_readable(mount), "it can be read", RECOVERS_S)
        after = status(owner)
        assert (after["pid"], after["supervisor"]["restarts"]) == (before["pid"], 0)
        tried("event loops that were busy, slow, stopped or held")


@pytest.mark.deep
def test_with_the_bounds_of_a_users_mount_it_is_ended_within_a_minute(owner: User) -> None:
    with disturbed(owner, "disturbed", "--supervise") as mount:
        before = status(owner)
        with never_hanging(before["pid"], 100):
            os.kill(before["pid"], STANDS_STILL)
            assert_left_alone(before["pid"], stillness.LOOKS_MAX * stillness.LOOK_S * 0.8)
            wait_until(lambda: process_started_ticks(before["pid"]) is None, "it has ended", 40)
            wait_until(lambda: is_readable(mount), "it can be read again", RECOVERS_S)
