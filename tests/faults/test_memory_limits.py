"""A mount in a cgroup that has little memory, under four readers and a writer, with more data than the limit.

With enough for what the mount needs all goes well, for what is read from disk is given back when memory is short. With too little
the kernel kills the mount's process: a supervisor mounts again, nobody reads a wrong byte, and nothing that was synced or
committed is lost.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from artfs.fuse.restarts import AT_ONCE, SETTLED_S
from artfs.registry import fsck
from tests.acceptance.user import ARTFS, wait_until
from tests.faults.memory_groups import UNLIMITED, MemoryGroup, memory_group
from tests.faults.test_killed_mounts import LARGE_BYTES, READERS, RECOVERS_S, WAIT_S, Scene
from tests.reliability.trials import measured, tried

pytestmark = [
    pytest.mark.falsifies("no-end", "supervised", "whole", "fsync", "draft-kept", "verified"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(900),
]

ENOUGH_BYTES = 384 << 20  # with this load a mount comes to 300 MiB of its own
TOO_LITTLE_BYTES = 96 << 20
MOUNT_S = 120.0


@pytest.fixture
def group(tmp_path: Path) -> Iterator[MemoryGroup]:
    with memory_group(f"artfs-test-{os.getpid()}") as made:
        yield made


@contextmanager
def mounted_within(scene: Scene, group: MemoryGroup, *options: str) -> Iterator[None]:
    """A mount whose processes are in the group; gone afterwards, whatever happened. What it reads was not in memory."""
    leave_on_disk(scene.user.registry)
    command = group.command(ARTFS, "mount", scene.mount, *options)
    done = subprocess.run(command, env=scene.user.environment(), capture_output=True, text=True, timeout=MOUNT_S)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        group.limit(UNLIMITED)
        scene.user.run("umount", scene.mount, code=None)
        if os.path.ismount(scene.mount):
            subprocess.run(["fusermount3", "-uz", scene.mount], check=False, timeout=30)


def leave_on_disk(directory: Path) -> None:
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def work_with_enough(scene: Scene, group: MemoryGroup, for_s: float, commits: int) -> None:
    with mounted_within(scene, group):
        pid = scene.status()["pid"]
        group.limit(ENOUGH_BYTES)
        with scene.used() as met:
            end = time.monotonic() + for_s
            while time.monotonic() < end:
                assert group.kills == 0, "it was killed for want of memory"
                time.sleep(0.1)
            wait_until(lambda: len(scene.noted("committed")) >= commits, "versions are committed", WAIT_S)
        assert group.times_full > 0, "the limit was never met"
        assert group.kills == 0
        assert scene.status()["pid"] == pid
    tried("times that something was given back for a mount to go on", group.times_full)
    check_everything(scene, met)


def work_with_too_little(scene: Scene, group: MemoryGroup, for_s: float, kills: int) -> None:
    with mounted_within(scene, group, "--supervise"):
        group.limit(TOO_LITTLE_BYTES)
        begun = time.monotonic()
        with scene.used() as met:
            wait_until(lambda: group.kills >= kills and time.monotonic() > begun + for_s, "it is killed", WAIT_S)
            restarts = scene.status()["supervisor"]["restarts"]
            assert restarts <= AT_ONCE + 2 * (time.monotonic() - begun) / SETTLED_S, (
                "it was begun again without a pause"
            )
            recover(scene, group)
            committed = len(scene.noted("committed"))
            wait_until(lambda: len(scene.noted("committed")) > committed, "the writer goes on", WAIT_S)
    tried("kills of a mount for want of memory", group.kills)
    check_everything(scene, met)


def recover(scene: Scene, group: MemoryGroup) -> None:
    group.limit(UNLIMITED)
    begun = time.monotonic()
    wait_until(scene.is_usable, "a file can be opened and read", WAIT_S)
    measured("from a limit that was raised until a file can be opened and read, seconds", [time.monotonic() - begun])
    assert time.monotonic() - begun < RECOVERS_S


def check_everything(scene: Scene, met: list[dict[str, Any]]) -> None:
    assert len(met) == READERS
    for reader in met:
        assert reader["wrong"] == []
        assert reader["met"]["reads"] > 0
        tried("reads compared", reader["met"]["reads"])
    tried("synced writes checked", len(scene.noted("synced")))
    with scene.user.mounted("artfs"):
        scene.check_what_was_promised()
    assert [str(finding) for finding in fsck.check(scene.user.registry).findings] == []


def test_a_mount_with_hardly_enough_memory_does_all_its_work(tmp_path: Path, group: MemoryGroup) -> None:
    work_with_enough(Scene(tmp_path, large_files=100), group, for_s=5, commits=1)


def test_a_mount_that_is_killed_for_want_of_memory_comes_back_and_loses_nothing(
    tmp_path: Path, group: MemoryGroup
) -> None:
    work_with_too_little(Scene(tmp_path, large_files=40), group, for_s=0, kills=2)


@pytest.mark.deep
def test_a_mount_with_hardly_enough_memory_does_all_its_work_with_four_times_the_data(
    tmp_path: Path, group: MemoryGroup
) -> None:
    large_files = 4 * ENOUGH_BYTES // LARGE_BYTES
    work_with_enough(Scene(tmp_path, large_files), group, for_s=60, commits=10)


@pytest.mark.deep
def test_a_mount_that_is_killed_for_want_of_memory_again_and_again_loses_nothing(
    tmp_path: Path, group: MemoryGroup
) -> None:
    work_with_too_little(Scene(tmp_path, large_files=80), group, for_s=20, kills=10)
