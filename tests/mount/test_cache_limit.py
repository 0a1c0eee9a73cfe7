"""The cache on disk under a mount: never over its limit, and whatever happens to it, right bytes."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tests.mount import serve
from tests.mount.mounting import Machine, Mount

pytestmark = [pytest.mark.falsifies("cache-limit"), pytest.mark.serial]

LIMIT = 16 << 20
IN_FLIGHT = 8 << 20  # chunks on their way, at most
LARGE = random.Random(5).randbytes(48 << 20)  # three times the limit
SMALL = {f"{i:03}.dat": random.Random(i).randbytes(9_000) for i in range(400)}


@pytest.fixture
def machine(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv(serve.FAULTS, str(machine.directory / "fault"))  # a far registry, without faults
    monkeypatch.setenv(serve.CACHE_BYTES, str(LIMIT))
    machine.put("vision/bikes", {"large.bin": LARGE, "small": SMALL})
    return machine


def _du(directory: Path) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", directory], capture_output=True, text=True, timeout=30)
    return int(done.stdout.split()[0]) if done.stdout else 0  # files that go meanwhile are no failure


@contextmanager
def _watched(directory: Path) -> Iterator[list[int]]:
    """What `du` says of a directory, ten times a second."""
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            seen.append(_du(directory))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(60)


def _read_all(mount: Mount) -> None:
    whole = sha256()
    with (mount / "vision/bikes/v0/large.bin").open("rb") as file:
        while data := file.read(1 << 20):
            whole.update(data)
    assert whole.digest() == sha256(LARGE).digest()
    for name, data in SMALL.items():
        assert (mount / f"vision/bikes/v0/small/{name}").read_bytes() == data


def _drop_pages() -> None:
    Path("/proc/sys/vm/drop_caches").write_text("3")


def test_a_file_larger_than_the_cache_is_read_whole_and_du_never_exceeds_the_limit(machine: Machine) -> None:
    cache = machine.directory / "cache"
    with machine.mount() as mount, _watched(cache) as seen:
        for _ in range(2):
            _read_all(mount)
            _drop_pages()
        assert mount.status()["cache"]["disk"]["misses"] > 0
    assert len(seen) > 5
    assert LIMIT // 2 < max(seen) <= LIMIT + IN_FLIGHT


def test_a_full_disk_makes_reading_slower_and_never_wrong(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], check=True, timeout=30)
    try:
        monkeypatch.setenv(serve.CACHE_DIR, str(disk / "cache"))
        with machine.mount() as mount:
            for _ in range(2):
                _read_all(mount)
                _drop_pages()
            (disk / "filler").write_bytes(b"x" * max(0, (6 << 20) - _du(disk) - (64 << 10)))
            _read_all(mount)
    finally:
        subprocess.run(["umount", "-l", disk], check=True, timeout=30)


def test_bits_that_flip_in_the_cache_reach_no_reader(machine: Machine) -> None:
    with machine.mount() as mount:
        _read_all(mount)
    rng = random.Random(9)
    flipped = 0
    for path in (machine.directory / "cache").rglob("segments/*"):
        data = bytearray(path.read_bytes())
        for _ in range(200):
            place = rng.randrange(len(data))
            data[place] ^= 1 << rng.randrange(8)
            flipped += 1
        with path.open("r+b") as file:
            file.write(data)
    assert flipped
    with machine.mount() as mount:
        _read_all(mount)
        assert mount.status()["cache"]["memory"]["fetched_bytes"] > 0


def test_a_cache_that_is_removed_under_a_mount_is_made_again(machine: Machine) -> None:
    cache = machine.directory / "cache"
    with machine.mount() as mount:
        _read_all(mount)
        subprocess.run(["rm", "-rf", cache], check=True, timeout=60)
        _drop_pages()
        _read_all(mount)
    assert _du(cache) > 1 << 20
