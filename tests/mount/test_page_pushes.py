"""Small files whose content goes to the kernel when they are opened: the bytes are right, and nobody waits for ever."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from tests.mount.mounting import Machine

pytestmark = [pytest.mark.falsifies("verified"), pytest.mark.serial]

FILES = {f"{number:03}": random.Random(number).randbytes(1 + number * 331) for number in range(200)}


def _read(path: Path, *, drop: bool) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        if drop:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


@pytest.mark.timeout(120)
def test_readers_whose_pages_come_and_go_get_every_byte(machine: Machine) -> None:
    machine.put("p/a", FILES)
    wrong: list[str] = []

    def reader(root: Path, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(400):
            name = rng.choice(list(FILES)[: 20 if seed % 2 else 200])  # some meet in the same files all the time
            if _read(root / name, drop=rng.random() < 0.5) != FILES[name]:
                wrong.append(name)

    with machine.mount() as mount:
        root = mount / "p/a/v0"
        threads = [threading.Thread(target=reader, args=(root, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
