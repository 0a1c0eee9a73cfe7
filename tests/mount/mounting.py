"""Mounts of real registries for tests, each by a process of its own, and each taken away however the test ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artfs.errors import Busy, NotFound
from artfs.fuse import mount_points
from artfs.fuse.mount import mount_status, unmount
from artfs.fuse.mount_points import mounted_at
from artfs.fuse.mount_records import MountRecords
from artfs.fuse.process_records import process_started_ticks
from artfs.registry.embedded import EmbeddedRegistry
from tests.contract.uploading import Content, Tree, commit

SERVE = Path(__file__).with_name("serve.py")
MOUNT_TIMEOUT_S = 60
WAIT_S = 10.0


class MountFailed(Exception):
    """The mount could not begin; the message is what its user would have been told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Mount:
    """A live mount."""

    path: Path
    pid: int
    log: Path
    records: MountRecords

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def status(self) -> dict[str, Any]:
        record = self.records.find(self.path)
        assert record is not None, "the mount has no record"
        return mount_status(record)

    def is_serving(self) -> bool:
        return process_started_ticks(self.pid) is not None

    def resident_bytes(self) -> int:
        statm = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """Kill the process as a crash would; the mount point stays."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_serving(), "the killed process ends")


@dataclass(frozen=True)
class Machine:
    """A machine with a registry, on which tests mount it. Two machines with one `registry_dir` share the registry."""

    directory: Path
    registry_dir: Path

    @contextmanager
    def registry(self) -> Iterator[EmbeddedRegistry]:
        registry = EmbeddedRegistry(self.registry_dir)
        try:
            yield registry
        finally:
            registry.close()

    def put(self, artifact: str, tree: Tree | Content, *aliases: str) -> str:
        """Make a version of `tree` in `project/artifact`; returns its name."""
        project, name = artifact.split("/")
        with self.registry() as registry:
            registry.projects.create(project, exist_ok=True)
            return commit(registry, project, name, tree, *aliases, now_ns=time.time_ns()).version.name

    @property
    def records(self) -> MountRecords:
        return MountRecords(self.directory / "state", self.directory / "run")

    def start(self, mountpoint: Path, **options: Any) -> Mount:
        """Mount, for a test that unmounts itself. Options are those of `MountOptions`. Raises MountFailed."""
        done = subprocess.run(
            [sys.executable, SERVE, mountpoint, self.registry_dir, self.directory, json.dumps(options)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MOUNT_TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        if not done.stdout:
            raise AssertionError(f"mounting failed without a word: {done.stderr}")
        answer = json.loads(done.stdout)
        if "code" in answer:
            raise MountFailed(answer["code"], answer["message"])
        return Mount(mount_points.resolve(mountpoint), answer["pid"], Path(answer["log"]), self.records)

    @contextmanager
    def mount(self, name: str = "mnt", **options: Any) -> Iterator[Mount]:
        """A mount below the machine's directory. Whatever the test left open or killed, it is gone afterwards."""
        mount = self.start(self.directory / name, **options)
        try:
            yield mount
        finally:
            end(mount)


def end(mount: Mount) -> None:
    """Unmount in any state; the process has ended afterwards, by force if it takes too long."""
    try:
        unmount(mount.path, mount.records)
    except (Busy, NotFound):
        mount_points.unmount_now(mount.path, lazy=True)
    if mounted_at(mount.path) is not None:
        mount_points.unmount_now(mount.path, lazy=True)
    deadline = time.monotonic() + WAIT_S
    while mount.is_serving():
        if time.monotonic() > deadline:
            os.kill(mount.pid, signal.SIGKILL)
        time.sleep(0.01)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> float:
    """Wait for a condition; returns how long it took, in seconds."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < timeout_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.005)
    return time.monotonic() - begin
