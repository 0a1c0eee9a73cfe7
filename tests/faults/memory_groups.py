"""Cgroups that give the processes in them so much memory and no more; what they read from disk counts too. Versions 1 and 2."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.acceptance.user import wait_until

ROOT_1, ROOT_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60


class MemoryGroup:
    """A group that is there. Whoever is started by way of `command` is in it, with all its children."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._is_old = place.is_relative_to(ROOT_1)

    def limit(self, size_bytes: int) -> None:
        """What is over it must be given back at once, or somebody is killed. Nothing is swapped out."""
        if self._is_old:
            self._write("memory.limit_in_bytes", size_bytes)
            with suppress(OSError):  # a kernel that cannot limit swap, or has none
                self._write("memory.swappiness", 0)
        else:
            self._write("memory.max", size_bytes)
            with suppress(OSError):
                self._write("memory.swap.max", 0)

    @property
    def kills(self) -> int:
        """How many processes of it were killed for want of memory."""
        return self._count("memory.oom_control" if self._is_old else "memory.events", "oom_kill")

    @property
    def times_full(self) -> int:
        """How often something had to be given back, or somebody killed."""
        if self._is_old:
            return int((self._place / "memory.failcnt").read_text())
        return self._count("memory.events", "max")

    def command(self, *words: str | Path) -> list[str | Path]:
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', self._place / "cgroup.procs", *words]

    def processes(self) -> list[int]:
        return [int(line) for line in (self._place / "cgroup.procs").read_text().split()]

    def _write(self, name: str, value: int) -> None:
        (self._place / name).write_text(str(value))

    def _count(self, file: str, name: str) -> int:
        lines = (line.split() for line in (self._place / file).read_text().splitlines())
        return next(int(line[1]) for line in lines if line[0] == name)


@contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """A group without a limit as yet; gone afterwards, with whoever is in it. Skips the test where none can be made."""
    place = _place(name)
    try:
        place.mkdir()
        group = MemoryGroup(place)
        group.limit(UNLIMITED)
    except OSError as error:
        with suppress(OSError):
            place.rmdir()
        pytest.skip(f"no cgroup with a limit of memory can be made here: {error}")
    try:
        yield group
    finally:
        for process in group.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not group.processes(), "nobody is in the cgroup any more", 30)
        place.rmdir()


def _place(name: str) -> Path:
    if (ROOT_1 / "memory.limit_in_bytes").exists():
        return ROOT_1 / name
    if not (ROOT_2 / "cgroup.controllers").exists():
        pytest.skip("no cgroups are mounted at /sys/fs/cgroup")
    if "memory" not in (ROOT_2 / "cgroup.subtree_control").read_text().split():
        pytest.skip("the cgroups at /sys/fs/cgroup do not limit memory: no +memory in cgroup.subtree_control")
    return ROOT_2 / name
