"""The mount process is killed at each call by which it changes a file, while somebody makes a draft and commits it.

Afterwards a new mount takes its place, what was synced is in the draft, and what was committed is whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from artfs.errors import NotFound
from artfs.registry import fsck
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.user import ARTFS, User
from tests.faults.injecting import Injection, Point, distinct, kills, restore, spread
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("whole", "draft-kept"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(1800),
]

SOME = 4
PARTS = 6
KILLS = "drafting and committing on a mount, SQLite and a directory: kills of its process at a change of a file"
BASE = {"a": b"a" * 5000, "sub/b": b"b" * 300_000}
ADDED = {"a": b"changed", "new": bytes(range(256)) * 2000}


class Desk:
    """A user with one version, whose drafting of the next is disturbed."""

    def __init__(self, directory: Path) -> None:
        self.user = User(directory / "home")
        self.template = directory / "template"
        self.user.home.mkdir()
        for path, data in BASE.items():
            (directory / "base" / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / "base" / path).write_bytes(data)
        self.user.run("put", "-q", "-n", "p/a", directory / "base")
        self.user.home.rename(self.template)
        self.injection = Injection(self.user.home, directory / "injected")
        self.place = self.user.home / "artfs"
        self.synced: set[str] = set()
        self.is_committed = False

    @contextmanager
    def mounted(self, environment: dict[str, str]) -> Iterator[bool]:
        """Whether the mount came up."""
        command = [str(ARTFS), "mount", str(self.place)]
        try:
            done = subprocess.run(
                command,
                env={**self.user.environment(), **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
            yield done.returncode == 0
            subprocess.run(
                [str(ARTFS), "umount", str(self.place)],
                env=self.user.environment(),
                capture_output=True,
                timeout=60,
                check=False,
            )
        finally:
            subprocess.run(["fusermount3", "-uz", self.place], capture_output=True, timeout=30, check=False)

    def work(self) -> None:
        """Draft from the first version, change it, and commit. What is known to be done is noted."""
        artifact = self.place / "p/a"
        draft = artifact / ".staging/next"
        draft.mkdir()
        for path in BASE:
            (draft / path).parent.mkdir(exist_ok=True)
            os.link(artifact / "v0" / path, draft / path)
        for path, data in ADDED.items():
            with (draft / path).open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())
            self.synced.add(path)
        draft.rename(artifact / "best")
        self.is_committed = True

    def disturbed(self, point: int, do: str) -> None:
        restore(self.template, self.user.home)
        self.synced, self.is_committed = set(), False
        with self.mounted(self.injection.at_point(point, do).environment()) as is_up:
            if is_up:
                with suppress(OSError):
                    self.work()

    def points(self) -> list[Point]:
        restore(self.template, self.user.home)
        with self.mounted(self.injection.environment()) as is_up:
            assert is_up
            self.work()
        found = distinct(self.injection.points())
        assert len(found) > 30
        return found

    def check(self, what: str) -> None:
        with self.mounted({}) as is_up:
            assert is_up, what
            artifact = self.place / "p/a"
            versions = self.versions()
            assert versions in ({"v0"}, {"v0", "v1"}), what
            assert len(versions) == 2 or not self.is_committed, what
            draft = artifact / ".staging/next"
            if len(versions) == 1:
                for path in self.synced:
                    assert (draft / path).read_bytes() == ADDED[path], f"{what}: {path} was synced"
                if draft.exists():
                    shutil.rmtree(draft)
                self.work()
            for path, data in {**BASE, **ADDED}.items():
                assert (artifact / "best" / path).read_bytes() == data, what
            assert (artifact / "v0/a").read_bytes() == BASE["a"], what
        assert [str(finding) for finding in fsck.check(self.user.registry).findings] == [], what

    def versions(self) -> set[str]:
        with closing(EmbeddedRegistry(self.user.registry)) as registry, suppress(NotFound):
            return {version.name for version in registry.versions.list("p", "a")}
        return set()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def kill_at_each(desk: Desk, points: list[Point]) -> None:
    for point, do in kills(points):
        desk.disturbed(point.number, do)
        desk.check(f"{do} at {point}")
        tried(KILLS)


def test_a_mount_that_is_killed_at_some_points_loses_nothing(desk: Desk) -> None:
    kill_at_each(desk, spread(desk.points(), SOME))


@pytest.mark.deep
@pytest.mark.parametrize("part", range(PARTS))
def test_a_mount_that_is_killed_at_any_point_loses_nothing(desk: Desk, part: int) -> None:
    kill_at_each(desk, desk.points()[part::PARTS])
