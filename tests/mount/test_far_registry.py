"""A mount of a registry that is far, and then dead or stalled: what goes on, what fails and how soon, and that it recovers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.faulty_registry import DEAD, DENYING, STALL_S, STALLED, Faults
from tests.mount import serve
from tests.mount.mounting import Machine, Mount, wait_until
from tests.mount.trees import LARGE, TREE

pytestmark = [pytest.mark.falsifies("lazy"), pytest.mark.serial]

BOUND_S = 2 * STALL_S + 4  # within which every request is answered, whatever the registry does
UNREACHABLE = os.strerror(errno.EHOSTUNREACH)
KERNEL_FORGETS_S = 1.5  # names in catalog directories


@pytest.fixture
def faults(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Faults:
    monkeypatch.setenv(serve.FAULTS, str(machine.directory / "fault"))
    monkeypatch.setenv(serve.CACHE_BYTES, str(256 << 20))
    return Faults(machine.directory / "fault")


@pytest.fixture
def mount(machine: Machine, faults: Faults) -> Iterator[Mount]:
    machine.put("vision/bikes", TREE, "best")
    machine.put("vision/cars", {"unvisited": b"x"})
    with machine.mount() as mounted:
        yield mounted
        faults.set("")


def _visit(mount: Mount) -> None:
    """As a user does who lists and reads one version."""
    subprocess.run(["ls", "-lR", mount / "vision/bikes/best"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    for name in ("vision/bikes", "vision", ""):
        os.listdir(mount / name)
    assert (mount / "vision/bikes/best/readme.txt").read_bytes() == b"hello\n"
    assert (mount / "vision/bikes/best/large.bin").read_bytes() == LARGE


def _forget_names(mount: Mount) -> None:
    """Have the kernel ask again for everything: drop what it may drop, and let the rest expire."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    began_s = time.monotonic()
    while time.monotonic() - began_s < KERNEL_FORGETS_S:
        time.sleep(0.05)


def _still_works(mount: Mount) -> None:
    assert sorted(os.listdir(mount / "vision/bikes")) == [".staging", "best", "latest", "v0"]
    assert sorted(os.listdir(mount / "vision")) == ["bikes", "cars"]
    assert "vision" in os.listdir(mount.path)
    assert len(os.listdir(mount / "vision/bikes/v0/sub")) == 600
    assert (mount / "vision/bikes/latest/readme.txt").read_bytes() == b"hello\n"
    assert (mount / "vision/bikes/best/large.bin").read_bytes() == LARGE
    assert os.stat(mount / "vision/bikes/best/sub/0100.dat").st_size == 700
    assert os.statvfs(mount.path).f_blocks > 0
    with pytest.raises(FileNotFoundError):
        os.stat(mount / "vision/bikes/worst")


def _fails(path: Path) -> float:
    """Returns after how many seconds it did, with the errno of a registry out of reach."""
    began_s = time.monotonic()
    with pytest.raises(OSError, match=UNREACHABLE):
        os.listdir(path)
    return time.monotonic() - began_s


@pytest.mark.parametrize("fault", [DEAD, pytest.param(STALLED, marks=pytest.mark.deep)])
def test_what_was_visited_works_without_the_registry_and_the_rest_fails_in_time(
    mount: Mount, faults: Faults, fault: str
) -> None:
    _visit(mount)
    faults.set(fault)
    _forget_names(mount)
    _still_works(mount)
    assert _fails(mount / "vision/cars") < BOUND_S
    assert _fails(mount / "vision/cars") < BOUND_S
    _still_works(mount)
    with pytest.raises(OSError, match=UNREACHABLE):
        (mount / "vision/bikes/best/sub/0500.dat").read_bytes()
    wait_until(lambda: not mount.status()["cache"]["registry"]["reachable"], "the status says so", BOUND_S)
    faults.set("")
    wait_until(lambda: os.path.isdir(mount / "vision/cars/latest"), "it recovers", BOUND_S)
    assert (mount / "vision/bikes/best/sub/0500.dat").read_bytes() == TREE["sub"]["0500.dat"]  # type: ignore[index,call-overload]  # a tree
    assert mount.status()["cache"]["registry"]["reachable"]


@pytest.mark.deep
def test_many_stalled_requests_do_not_hold_up_what_is_at_hand(machine: Machine, mount: Mount, faults: Faults) -> None:
    for i in range(8):
        machine.put(f"far{i}/c", {"f": b"x"})  # in directories of their own, which the kernel locks one by one
    _visit(mount)
    faults.set(STALLED)
    _forget_names(mount)
    commands: list[list[str | Path]] = [["ls", mount / f"far{i}/c/v0"] for i in range(8)]
    commands += [["cat", mount / f"vision/bikes/best/sub/{i:04}.dat"] for i in range(300, 316)]
    waiting = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    try:
        wait_until(lambda: mount.status()["cache"]["registry"]["waiting"] >= 4, "they wait")
        until_s = time.monotonic() + STALL_S / 2
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            _still_works(mount)
            assert time.monotonic() - began_s < 1.0
        for process in waiting:
            assert UNREACHABLE.encode() in process.communicate(timeout=3 * BOUND_S)[1]
    finally:
        faults.set("")
        for process in waiting:
            process.kill()
            process.communicate(timeout=BOUND_S)


def test_a_reader_that_waits_for_a_stalled_registry_can_be_killed(mount: Mount, faults: Faults) -> None:
    os.listdir(mount / "vision/bikes/best/sub")
    faults.set(STALLED)
    reader = subprocess.Popen(["cat", mount / "vision/bikes/best/sub/0400.dat"], stdout=subprocess.DEVNULL)
    wait_until(lambda: faults.now == STALLED and reader.poll() is None, "it reads")
    reader.send_signal(signal.SIGKILL)
    reader.wait(BOUND_S)


def test_unmounting_does_not_wait_for_a_stalled_registry(machine: Machine, faults: Faults) -> None:
    machine.put("vision/bikes", {"f": b"x"})
    with machine.mount() as mount:
        assert os.listdir(mount.path) == ["vision"]
        wait_until(lambda: mount.status()["cache"]["registry"]["is_followed"], "changes are followed")
        faults.set(STALLED)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < STALL_S
    faults.set("")


def test_a_mount_begun_while_the_registry_is_dead_shows_what_was_visited(machine: Machine, faults: Faults) -> None:
    machine.put("vision/bikes", TREE, "best")
    machine.put("vision/cars", {"unvisited": b"x"})
    with machine.mount() as mount:
        _visit(mount)
        before = os.stat(mount / "vision/bikes/best/sub/0100.dat")
    faults.set(DEAD)
    with machine.mount() as mount:
        _still_works(mount)
        assert _fails(mount / "vision/cars") < BOUND_S
        after = os.stat(mount / "vision/bikes/best/sub/0100.dat")
        assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.deep
def test_an_alias_moved_elsewhere_is_seen_at_once_and_after_an_outage_too(
    machine: Machine, mount: Mount, faults: Faults
) -> None:
    best = mount / "vision/bikes/best"

    def version() -> str:
        return os.getxattr(best, "user.artfs.version").decode()

    assert version() == "v0"
    wait_until(lambda: mount.status()["cache"]["registry"]["is_followed"], "changes are followed")
    took = []
    for number in range(1, 6):
        machine.put("vision/bikes", {"f": b"%d" % number}, "best")
        took.append(wait_until(lambda n=number: version() == f"v{n}", "it is seen", 2.0))  # type: ignore[misc]  # bound now
    assert sorted(took)[2] < 0.2
    faults.set(DEAD)
    wait_until(lambda: not mount.status()["cache"]["registry"]["reachable"], "the outage is noticed", BOUND_S)
    machine.put("vision/bikes", {"f": b"later"}, "best")
    assert version() == "v5"
    faults.set("")
    wait_until(lambda: version() == "v6", "it is seen after the outage", BOUND_S)


def test_an_alias_never_goes_back_while_versions_are_committed_and_the_registry_comes_and_goes(
    machine: Machine, mount: Mount, faults: Faults
) -> None:
    stop = threading.Event()

    def disturb() -> None:
        for number in range(12):
            machine.put("vision/bikes", {"f": b"%d" % number})
            faults.set(DEAD if number % 3 == 1 else "")
        stop.set()

    seen = seen_listed = 0  # apart: the kernel may know a name's meaning for a second after a listing told of more
    with _running(disturb):
        while not stop.is_set():
            try:
                now = int(os.getxattr(mount / "vision/bikes/latest", "user.artfs.version")[1:])
                listed = max(int(name[1:]) for name in os.listdir(mount / "vision/bikes") if name[1:].isdigit())
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                continue
            assert now >= seen
            assert listed >= seen_listed
            seen, seen_listed = now, listed
    faults.set("")
    wait_until(lambda: os.getxattr(mount / "vision/bikes/latest", "user.artfs.version") == b"v12", "the end", BOUND_S)


@contextmanager
def _running(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)


def test_a_warm_mount_asks_the_registry_nothing(mount: Mount) -> None:
    _visit(mount)
    wait_until(lambda: mount.status()["cache"]["registry"]["is_followed"], "changes are followed")
    _visit(mount)
    _forget_names(mount)
    before = mount.status()["cache"]["registry"]["requests"]
    for _ in range(3):
        _still_works(mount)
    assert mount.status()["cache"]["registry"]["requests"] - before <= 1  # the one name that is not there


def test_denied_changes_are_eacces(mount: Mount, faults: Faults) -> None:
    draft = mount / "vision/bikes/.staging/next"
    draft.mkdir()
    (draft / "f").write_bytes(b"new")
    faults.set(DENYING)
    denied: dict[str, Callable[[], None]] = {
        "mkdir": lambda: os.mkdir(mount / "sound"),
        "rmdir": lambda: os.rmdir(mount / "vision/bikes/best"),
        "rename": lambda: os.rename(draft, mount / "vision/bikes/next"),
        "setxattr": lambda: os.setxattr(mount / "vision/bikes/v0", "user.artfs.description", b"x"),
    }
    answers = {}
    for name, call in denied.items():
        try:
            call()
        except OSError as error:
            answers[name] = errno.errorcode[error.errno or 0]
    assert answers == dict.fromkeys(denied, "EACCES")
    faults.set("")
    assert (draft / "f").read_bytes() == b"new"
    os.rename(draft, mount / "vision/bikes/next")
    assert (mount / "vision/bikes/next/f").read_bytes() == b"new"
