"""What returned before the process was killed is there afterwards, and the draft is whole: adopted, usable, committable."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artfs.errors import Busy
from artfs.vfs.staging.index import create_index
from artfs.vfs.staging.layout import DraftLock, StagingRoot
from artfs.vfs.staging_port import DraftPlace
from tests.reliability.trials import tried
from tests.unit.staging.driver import PROJECT, Machine, machine_at

pytestmark = [pytest.mark.falsifies("fsync", "draft-kept")]

WORKER = Path(__file__).with_name("staging_worker.py")
ROOT = Path(__file__).parents[2]
LINES_MAX = 400
KILLS = 6


def work_until_killed(directory: Path, seed: int, lines: int) -> list[dict[str, str]]:
    """Trees after each call that returned, in order; the process is killed after about `lines` of them."""
    worker = subprocess.Popen(
        [sys.executable, WORKER, directory, str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert worker.stdout is not None
    trees = []
    with worker.stdout as output:
        for line in output:
            if not line.endswith("\n"):
                break
            trees.append(json.loads(line))
            if len(trees) == lines:
                worker.send_signal(signal.SIGKILL)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    return trees


async def test_calls_that_returned_survive_kill_9_again_and_again(tmp_path: Path) -> None:
    choose = random.Random(7)
    for seed in range(KILLS):
        trees = work_until_killed(tmp_path, seed, choose.randrange(1, LINES_MAX))
        async with machine_at(tmp_path) as machine:
            found = {path: data.decode() for path, data in (await machine.found().walk()).items()}  # type: ignore[attr-defined]  # all are files
            last = trees[-1]
            changed = {name for name in found.keys() | last.keys() if found.get(name) != last.get(name)}
            tried("a draft's process killed at work")
            tried("a call that had returned before the kill", len(trees))
            assert len(changed) <= 2, f"more than the one call under way is different: {changed}"
    async with machine_at(tmp_path) as machine:
        before = await machine.found().walk()
        result = await machine.found().commit()
        assert machine.tree(result.version.digest) == before


async def test_files_without_a_name_are_deleted_when_the_draft_is_adopted_again(tmp_path: Path) -> None:
    async with machine_at(tmp_path) as machine:
        draft = await machine.draft()
        await draft.write("f", b"x")
        handle = await draft.open("f")
        await draft.unlink("f")
        assert data_files(machine) == 1
        await draft.staging.handles.release(handle)
    async with machine_at(tmp_path) as machine:
        assert await machine.found().walk() == {}
        assert data_files(machine) == 0


async def test_half_made_copies_and_drafts_are_swept(tmp_path: Path) -> None:
    async with machine_at(tmp_path) as machine:
        await machine.draft()
        directory = machine.layout.directory(machine.found().place)
    (directory / "data/copying-7").write_bytes(b"half")
    for name in (".new-1-abc", ".dead-1-abc"):
        (directory.parent / name).mkdir()
        (directory.parent / name / "lock").touch()
    async with machine_at(tmp_path) as machine:
        assert await machine.found().walk() == {}
        assert not (directory / "data/copying-7").exists()
        deadline = time.monotonic() + 10
        while any(name.startswith(".") for name in os.listdir(directory.parent)):
            assert time.monotonic() < deadline
            await machine.found().stat("")
            time.sleep(0.01)  # noqa: ASYNC251 (the sweeping thread needs no event loop)
        assert machine.layout.names(PROJECT, "a") == ["next"]


async def test_a_draft_held_by_another_process_is_listed_and_not_used(tmp_path: Path) -> None:
    async with machine_at(tmp_path) as machine:
        await machine.draft()
        held = await machine.area().drafts.list(PROJECT, "a")
        assert [name for name, _ in held] == ["next"]
        other = machine.found(staging=machine.area())
        with pytest.raises(Busy, match="another process holds"):
            await other.mkdir("d")


async def test_a_crash_between_seal_and_removal_leaves_a_draft_whose_commit_changes_nothing(tmp_path: Path) -> None:
    async with machine_at(tmp_path) as machine:
        draft = await machine.draft()
        await draft.write("f", b"x")
        copy = tmp_path / "copy"
        await machine.staging.close()
        shutil.copytree(machine.layout.directory(draft.place), copy)
        machine.staging = machine.area()
        version = (await machine.found().commit()).version
        copy.rename(machine.layout.directory(draft.place))
        again = await machine.found().commit()
        assert (again.created, again.version.number) == (False, version.number)


def test_a_draft_is_created_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    layout = StagingRoot(tmp_path)
    place = DraftPlace(PROJECT, "a", "next")

    def fail(directory: Path) -> None:
        create_index(directory).close()
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        layout.create(place, fail)
    assert os.listdir(tmp_path / "p/a") == []
    layout.create(place, lambda directory: create_index(directory).close())
    assert layout.names(PROJECT, "a") == ["next"]
    with pytest.raises(FileExistsError):
        layout.create(place, lambda directory: None)
    lock = DraftLock.take(layout.directory(place))
    assert lock is not None
    assert DraftLock.take(layout.directory(place)) is None
    lock.release()


def data_files(machine: Machine) -> int:
    return sum(len(files) for _, _, files in os.walk(machine.layout.root / "p/a/next/data"))
