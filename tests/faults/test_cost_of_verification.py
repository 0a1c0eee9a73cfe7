"""What it costs that whatever is read from the cache is hashed: the same reads with and without, in turns.

Sound where nothing else runs. Files are in the cache on disk, and that is in the page cache of the kernel: the fastest disk
there is, so that hashing weighs most. Again and again a fresh mount reads them for the first time, and then once more, as a
second epoch.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.user import User
from tests.faults.test_random_damage import ROOT, mounted
from tests.reliability.trials import measured, tried

pytestmark = [pytest.mark.falsifies("verified"), pytest.mark.fuse, pytest.mark.serial, pytest.mark.deep]

SMALL_FILES, SMALL_BYTES = 3000, 12 << 10
LARGE_BYTES = 192 << 20
ROUNDS = 5
COST_MAX = 0.15
COST_MAX_AT_FIRST = (
    0.6  # of a large file that a new mount reads from a cache in the kernel's memory: docs/decisions/0031
)
PIECE = 1 << 20
PASSES = ("first read of a mount", "second epoch")


def seconds_of(directory: Path) -> list[float]:
    """How long a process takes to read all files below `directory`, twice."""
    words, environment = [sys.executable, __file__, str(directory)], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=120)
    found: list[float] = json.loads(done.stdout)
    return found


def read_twice(directory: str) -> list[float]:
    seconds = []
    buffer = bytearray(PIECE)
    for _ in PASSES:
        begin = time.perf_counter()
        for here, _, names in os.walk(directory):
            for name in sorted(names):
                fd = os.open(os.path.join(here, name), os.O_RDONLY)
                while os.readv(fd, [buffer]):
                    pass
                os.close(fd)
        seconds.append(time.perf_counter() - begin)
    return seconds


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody whose files are all in the cache."""
    home, source, rng = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("source"), random.Random(1)
    (source / "small").mkdir()
    (source / "large").mkdir()
    for number in range(SMALL_FILES):
        (source / f"small/{number:04}").write_bytes(rng.randbytes(SMALL_BYTES))
    for number in range(2):
        (source / f"large/{number}").write_bytes(rng.randbytes(LARGE_BYTES // 2))
    found = User(home)
    found.run("put", "-q", "-n", "p/a", source)
    with mounted(found, change="as-it-is", ARTFS_CACHE="always") as mount:
        for kind in ("small", "large"):
            seconds_of(mount / "p/a/v0" / kind)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["small", "large"])
def test_verification_costs_little_of_warm_reads(user: User, kind: str) -> None:
    seconds: dict[str, list[list[float]]] = {"as-it-is": [], "unverified": []}
    for _ in range(ROUNDS):
        for change, found in seconds.items():
            with mounted(user, change=change, ARTFS_CACHE="always") as mount:
                found.append(seconds_of(mount / "p/a/v0" / kind))
    tried(f"warm reads of {kind} files with and without verification", ROUNDS)
    costs = {}
    for number, what in enumerate(PASSES):
        verified, unverified = (statistics.median(one[number] for one in found) for found in seconds.values())
        costs[what] = verified / unverified - 1
        sys.stderr.write(f"{kind}, {what}: {verified:.3f} s, {unverified:.3f} s unverified: {costs[what]:+.1%}\n")
        measured(f"cost of verification, {kind} files, {what}, part of the time without", [costs[what]])
    assert costs["second epoch"] < COST_MAX
    assert costs["first read of a mount"] < (COST_MAX if kind == "small" else COST_MAX_AT_FIRST)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read_twice(sys.argv[1])))
