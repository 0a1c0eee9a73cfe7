"""A machine that runs out of descriptors or threads while a mount works: the mount goes on, and works again afterwards.

They are exhausted really, by limits lowered on the running process (prlimit, a cgroup); call by call, and memory, is in
`test_mount_kth_call.py`.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.acceptance.user import User
from tests.faults.drafting import Program
from tests.faults.injecting import FOREVER
from tests.faults.struck_mount import Struck, put_files, some_files, struck_mount
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("no-end", "draft-kept", "verified"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(3600),
]

CGROUPS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # of its version 1, and 2


@pytest.fixture
def user(tmp_path: Path) -> User:
    user = User(tmp_path / "home")
    user.home.mkdir()
    return user


def work_while(struck: Struck, seed: int, failure: int) -> Program:
    """A program lists, reads, drafts and commits, and the mount's status is asked for; each may fail."""
    files = some_files(seed)
    program = struck.program(failure)
    for _ in range(2):
        program.look(files, struck.version(seed))
    program.make_draft(
        files, struck.version(seed), {"new": some_files(-seed)["large"], "newer": some_files(-seed)["a"]}
    )
    struck.ask()
    program.commit()
    return program


def check_after(struck: Struck, seed: int, program: Program) -> None:
    struck.assert_lives()
    program.check()
    program.look(some_files(seed), struck.version(seed))


@contextmanager
def few_descriptors(pid: int, spare: int) -> Iterator[None]:
    """A limit lowered on a process that runs, so that it can open so many files more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    unused = [number for number in range(max(held) + spare + 2) if number not in held]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (unused[spare], hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "free", [pytest.param((1,), id="one"), pytest.param(range(25), id="many", marks=pytest.mark.deep)]
)
def test_a_mount_without_free_descriptors_goes_on(user: User, tmp_path: Path, free: Iterable[int]) -> None:
    put_files(user.registry, free)
    with struck_mount(user, user.home, tmp_path / "commanded") as struck:
        for spare in free:
            with struck.bounded("working without descriptors"):
                with few_descriptors(struck.pid, spare):
                    program = work_while(struck, spare, errno.EMFILE)
                check_after(struck, spare, program)
            tried("program's work with few descriptors, or none")


@contextmanager
def few_threads(struck: Struck, spare: int) -> Iterator[None]:
    """A machine that gives the mount's process so many threads more: by a cgroup, or where there is none to have by injection."""
    root = next(root for root in CGROUPS if root.is_dir())
    group = root / f"artfs-test-{struck.pid}"
    groups = [line.split(":", 2) for line in Path(f"/proc/{struck.pid}/cgroup").read_text().splitlines()]
    before = next(path for _, kinds, path in groups if kinds in ("pids", ""))
    try:
        group.mkdir()
        (group / "pids.max").write_text(str(len(os.listdir(f"/proc/{struck.pid}/task")) + spare))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        with struck.commanded.struck(errno.EAGAIN, 1 + spare, FOREVER):
            yield
        return
    try:
        (group / "cgroup.procs").write_text(str(struck.pid))
        yield
    finally:
        (root / before.strip("/") / "cgroup.procs").write_text(str(struck.pid))
        group.rmdir()


@pytest.mark.parametrize(
    "free", [pytest.param((0,), id="none"), pytest.param(range(20), id="many", marks=pytest.mark.deep)]
)
def test_a_mount_without_free_threads_goes_on(user: User, tmp_path: Path, free: Iterable[int]) -> None:
    put_files(user.registry, free)
    with struck_mount(user, user.home, tmp_path / "commanded") as struck:
        for spare in free:
            with struck.bounded("working without threads"):
                with few_threads(struck, spare):
                    program = work_while(struck, spare, errno.EAGAIN)
                check_after(struck, spare, program)
            tried("program's work with few threads, or none")
