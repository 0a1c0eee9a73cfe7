"""A supervised mount is killed again and again under four readers and a writer.

It is there again within two seconds each time, nobody reads a wrong byte, and nothing that was synced or committed is lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from artfs.fuse.mount_points import mounts_of_artfs
from artfs.registry import fsck
from tests.acceptance.user import User, wait_until
from tests.faults.mount_workers import FILES, content
from tests.reliability.trials import measured, tried

pytestmark = [
    pytest.mark.falsifies("supervised", "whole", "fsync", "draft-kept", "verified"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(900),
]

ROOT = Path(__file__).parents[2]
READERS = 4
KILLS, MANY_KILLS = 3, 50
RECOVERS_S = 2.0
WAIT_S = 30.0
LARGE_BYTES = 4 << 20
APART_S = 3.0  # at most, between a mount that is usable again and the next kill
HASTE = 0.25  # the part of kills that hit a mount which is only beginning


class Scene:
    """A user with a version, a supervised mount, and who uses it."""

    def __init__(self, directory: Path, large_files: int = 0) -> None:
        self.user = User(directory / "home")
        self.user.home.mkdir()
        self.source = directory / "source"
        self.ledger = directory / "ledger"
        self.mount = self.user.home / "artfs"
        choose = random.Random(1)
        self.source.mkdir()
        for number in range(30):
            (self.source / f"f{number}").write_bytes(choose.randbytes(choose.choice((100, 20_000, 400_000))))
        for number in range(large_files):
            (self.source / f"large{number}").write_bytes(choose.randbytes(LARGE_BYTES))
        self.ledger.touch()
        self.user.run("put", "-q", "-n", "p/a", self.source)
        self.first = directory / "first"
        self.first.mkdir()
        for file in range(FILES):
            (self.first / f"f{file}").write_bytes(content(1, file))
        (self.first / "number").write_text("1")
        self.user.run("put", "-q", "-n", "p/a", "--alias", "best", self.first)

    @contextmanager
    def supervised(self) -> Iterator[int]:
        """The supervisor's process id. The mount is gone afterwards, whatever happened."""
        with self.user.mounted("artfs", "--supervise"):
            yield self.status()["supervisor"]["pid"]

    def status(self) -> dict[str, Any]:
        (mount,) = self.user.json("status")["mounts"]
        return dict(mount)

    @contextmanager
    def used(self) -> Iterator[list[dict[str, Any]]]:
        """Readers and a writer at work; what the readers met is in the list afterwards."""
        met: list[dict[str, Any]] = []
        workers = [self.worker("write", self.ledger)]
        workers += [self.worker("read", self.source, str(seed)) for seed in range(READERS)]
        try:
            yield met
            for worker in workers:
                worker.terminate()
            for worker in workers:
                said, complaint = worker.communicate(timeout=WAIT_S + 30)
                assert worker.returncode == 0, complaint
                met += [json.loads(said)] if said else []
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate(timeout=WAIT_S)

    def worker(self, what: str, *arguments: Path | str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.faults.mount_workers", what, str(self.mount), *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def is_usable(self) -> bool:
        with suppress(OSError):
            return (self.mount / "p/a/v0/f0").read_bytes() == (self.source / "f0").read_bytes()
        return False

    def noted(self, what: str) -> list[Any]:
        lines = map(json.loads, self.ledger.read_text().splitlines())
        return [line[what] for line in lines if what in line]

    def check_what_was_promised(self) -> None:
        """Every version is whole, those that were committed are there once, and the draft has what was synced."""
        artifact = self.mount / "p/a"
        committed = self.noted("committed")
        found = []
        for name in sorted(os.listdir(artifact)):
            if name.startswith("v") and name != "v0":
                found.append(int((artifact / name / "number").read_bytes()))
                for file in range(FILES):
                    assert (artifact / name / f"f{file}").read_bytes() == content(found[-1], file), (name, file)
        assert len(found) == len(set(found)), "a version was made twice"
        assert set(committed) <= set(found)
        for number, file in self.noted("synced"):
            if number not in found:
                assert (artifact / f".staging/d{number}/f{file}").read_bytes() == content(number, file)


def child_of(pid: int) -> int | None:
    """The mount process of a supervisor, if it has one just now."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def kill_one(supervisor: int) -> int:
    """Kill the process that serves, or is about to."""
    found: list[int] = []

    def is_there() -> bool:
        found.extend(pid for pid in (child_of(supervisor),) if pid is not None)
        return bool(found)

    wait_until(is_there, "there is a process that mounts", WAIT_S)
    os.kill(found[0], signal.SIGKILL)
    return found[0]


def kill_again_and_again(scene: Scene, supervisor: int, kills: int) -> list[float]:
    """How long after each kill a file could be opened and read again, in seconds."""
    choose = random.Random(kills)
    recoveries: list[float] = []
    for number in range(kills):
        delay_s = choose.uniform(0, APART_S)
        time.sleep(delay_s)
        killed = kill_one(supervisor)
        if number % round(1 / HASTE) == 1:
            wait_until(lambda killed=killed: child_of(supervisor) not in (killed, None), "it is replaced", WAIT_S)  # type: ignore[misc]  # mypy cannot infer a default's type
            delay_s = choose.uniform(0, 0.03)
            time.sleep(delay_s)
            killed = kill_one(supervisor)
            tried("kills of a mount that was beginning")
        begin = time.monotonic()
        while child_of(supervisor) in (killed, None) or not scene.is_usable():
            assert time.monotonic() - begin < WAIT_S, "the mount does not come back"
            time.sleep(0.001)
        recoveries.append(time.monotonic() - begin)
    tried("kills of a mount under four readers and a writer", kills)
    return recoveries


def torture(scene: Scene, kills: int) -> None:
    with scene.supervised() as supervisor:
        with scene.used() as met:
            wait_until(lambda: len(scene.noted("synced")) > 0, "the writer writes", WAIT_S)
            recoveries = kill_again_and_again(scene, supervisor, kills)
        restarts = scene.status()["supervisor"]["restarts"]
        assert kills <= restarts <= 2 * kills
    assert scene.mount not in mounts_of_artfs()
    assert processes_that_name(scene.user.home) == []
    assert left_behind(scene.user.home) == []
    measured("from a kill until a file can be opened and read again, seconds", recoveries)
    assert max(recoveries) < RECOVERS_S
    check_readers(met)
    tried("synced writes checked", len(scene.noted("synced")))
    tried("commits checked", len(scene.noted("committed")))
    with scene.user.mounted("artfs"):
        scene.check_what_was_promised()
    assert [str(finding) for finding in fsck.check(scene.user.registry).findings] == []


def check_readers(met: list[dict[str, Any]]) -> None:
    assert len(met) == READERS
    for reader in met:
        assert reader["wrong"] == []
        assert reader["met"]["reads"] > 0
        assert max(reader["away_s"], default=0) < 2 * RECOVERS_S  # two kills may be one to a reader
        tried("reads compared", reader["met"]["reads"])


def processes_that_name(place: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [command] if str(place) in command else []
    return found


def left_behind(home: Path) -> list[str]:
    """Records, sockets and half-made files of a mount that is gone."""
    places = [
        home / ".local/state/artfs/mounts",
        home / ".local/state/artfs/supervisors",
        home / ".local/state/artfs/run",
    ]
    records = [str(file) for place in places for file in place.rglob("*") if not file.is_dir()]
    half_made = [str(file) for file in (home / ".local/share/artfs/staging").rglob(".*")]
    return records + half_made + [str(file) for file in home.rglob("*.sock")]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_supervised_mount_that_is_killed_comes_back_and_loses_nothing(scene: Scene) -> None:
    torture(scene, KILLS)


@pytest.mark.deep
def test_a_supervised_mount_that_is_killed_fifty_times_comes_back_and_loses_nothing(scene: Scene) -> None:
    torture(scene, MANY_KILLS)
