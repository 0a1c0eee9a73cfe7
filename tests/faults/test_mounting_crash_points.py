"""Mounting and unmounting are killed at each call by which one of their processes changes a file, mounts or unmounts.

Afterwards mounting again works, shows what is there, and can be unmounted, with no mount point, process or file left over.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from artfs.fuse.mount_points import MountState, look_at, mounted_at
from tests.acceptance.user import ARTFS, User, wait_until
from tests.faults.injecting import Injection, Point, distinct, kills, restore, spread
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("whole", "bounded"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(1800),
]

SOME = 1
PARTS = 3
COMMAND_S = 60
CONTENT = b"content" * 10_000


class Mounting:
    """A user with one version, who mounts and unmounts while something happens."""

    def __init__(self, directory: Path) -> None:
        self.user = User(directory / "home")
        self.user.home.mkdir()
        (directory / "source").mkdir()
        (directory / "source/a").write_bytes(CONTENT)
        self.user.run("put", "-q", "-n", "p/a", directory / "source")
        self.template = directory / "template"
        self.user.home.rename(self.template)
        self.place = self.user.home / "artfs"
        self.injection = Injection(self.user.home, directory / "injected")

    def run(self, verb: str, environment: Mapping[str, str]) -> int:
        """The exit code of mounting or unmounting."""
        return subprocess.run(
            [ARTFS, verb, self.place],
            env={**self.user.environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        ).returncode

    def disturbed(self, injection: Injection) -> tuple[int, int]:
        """Mount, and unmount unless that failed: what is then left is for the next mount; the exit codes."""
        restore(self.template, self.user.home)
        environment = injection.environment()
        mounted = self.run("mount", environment)
        return mounted, mounted or self.run("umount", environment)

    def points(self) -> list[Point]:
        assert self.disturbed(self.injection) == (0, 0)
        found = distinct(self.injection.points())
        assert {"mount", "umount"} <= {point.call for point in found}
        return found

    def check(self, what: str) -> None:
        """A mount that was killed is replaced; one that still lives, since only its unmounting was killed, is unmounted first."""
        if look_at(self.place) is MountState.LIVE:
            assert self.run("umount", {}) == 0, what
        assert self.run("mount", {}) == 0, what
        assert (self.place / "p/a/latest/a").read_bytes() == CONTENT, what
        assert self.run("umount", {}) == 0, what
        assert mounted_at(self.place) is None, what
        wait_until(lambda: not self.processes(), f"{what}: no process is left")
        assert self.left_over() == [], what

    def left_over(self) -> list[str]:
        state = self.user.home / ".local/state/artfs"
        places = [state / "mounts", state / "run"]
        return [str(path.relative_to(state)) for place in places for path in place.rglob("*") if not path.is_dir()]

    def processes(self) -> list[int]:
        """What still runs of this user's."""
        wanted = f"HOME={self.user.home}".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if wanted in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
        return found

    def end(self) -> None:
        while mounted_at(self.place) is not None:
            subprocess.run(["fusermount3", "-uz", self.place], capture_output=True, timeout=COMMAND_S, check=True)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def mounting(tmp_path: Path) -> Iterator[Mounting]:
    made = Mounting(tmp_path)
    try:
        yield made
    finally:
        made.end()


def kill_at_each(mounting: Mounting, points: list[Point]) -> None:
    for point, do in kills(points):
        mounting.disturbed(mounting.injection.at_point(point.number, do))
        mounting.check(f"{do} at {point}")
        tried("mounting and unmounting, SQLite and a directory: kills at a change of a file or of what is mounted")


def test_mounting_that_was_killed_at_some_points_is_done_again(mounting: Mounting) -> None:
    points = mounting.points()
    some = {point.number: point for point in spread(points, SOME)}
    mounts = {point.number: point for point in points if point.call in ("mount", "umount")}
    kill_at_each(mounting, [*(some | mounts).values()])


@pytest.mark.deep
@pytest.mark.parametrize("part", range(PARTS))
def test_mounting_that_was_killed_at_any_point_is_done_again(mounting: Mounting, part: int) -> None:
    kill_at_each(mounting, mounting.points()[part::PARTS])
