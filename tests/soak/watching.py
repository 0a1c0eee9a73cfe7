"""What a process holds, looked at again and again while it works, and whether that grows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

EVERY_S = 1.0
MEMORY_GROWTH_BYTES = (
    16 << 20
)  # between two quarters of a load that stays the same; a leak of a byte per request is more in an hour
MEMORY_GROWTH_RATIO = 0.08
OPEN_GROWTH = 24  # descriptors and threads that come and go with requests under way


class Sample(NamedTuple):
    """What a process held at a moment."""

    at_s: float
    resident_bytes: int
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    opened, threads = len(os.listdir(process / "fd")), len(os.listdir(process / "task"))
    return Sample(time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE"), opened, threads)


@dataclass
class Watched:
    """One process and what it held; `pid` may become another one, whose samples then begin anew."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def is_now(self, pid: int) -> None:
        self.pid = pid
        self.samples = []

    def look(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):  # being restarted
            self.samples.append(sample(self.pid))

    def quarters(self) -> tuple[list[Sample], list[Sample]]:
        """The samples of the third and of the last quarter: before that it warms up."""
        count = len(self.samples)
        return self.samples[count // 2 : count * 3 // 4], self.samples[count * 3 // 4 :]

    def growth(self) -> list[str]:
        """What grew from the third quarter to the last, in words."""
        before, after = self.quarters()
        resident = [median(one.resident_bytes for one in some) for some in (before, after)]
        found = []
        if resident[1] - resident[0] > max(MEMORY_GROWTH_BYTES, MEMORY_GROWTH_RATIO * resident[0]):
            found.append(f"{self.name}: memory {resident[0] / 1e6:.1f} MB -> {resident[1] / 1e6:.1f} MB")
        for what in ("descriptors", "threads"):
            counts = [median(getattr(one, what) for one in some) for some in (before, after)]
            if counts[1] > counts[0] + OPEN_GROWTH:
                found.append(f"{self.name}: {what} {counts[0]} -> {counts[1]}")
        return found

    def told(self) -> str:
        """The figures of the two quarters, in a line."""
        parts = []
        for some in self.quarters():
            resident = median(one.resident_bytes for one in some) / 1e6
            opened, threads = (median(getattr(one, what) for one in some) for what in ("descriptors", "threads"))
            parts.append(f"{resident:.1f} MB, {opened:.0f} descriptors, {threads:.0f} threads")
        return f"{self.name}: {parts[0]} -> {parts[1]}"


class Watching:
    """Looks at some processes every second, in a thread, until it is left."""

    def __init__(self, watched: Iterable[Watched]) -> None:
        self._watched = list(watched)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(EVERY_S):
            for one in self._watched:
                one.look()
