"""Processes that are killed, or whose calls fail, at any one call that changes a file or sends a request: `injector.c`, counted
and named.

points = record(directory, command)             # what the command does, in order
for point in chosen(points):
    kill_at(directory, point, command)

commanded = Commanded(directory, place)         # what a process started with its environment() meets from now on
with commanded.struck(ENOSPC, at=7):            # its seventh call that may find no space does
    ...
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntFlag
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import mkdtemp

SOURCE = Path(__file__).with_name("injector.c")
COMMAND_S = 60.0
FAULT_S = 20.0
TORN = ("write", "pwrite", "pwritev", "writev")
LOSE = "lose"  # the answer to a request; the process lives
FOREVER = (1 << 63) - 1  # calls
_CONTROL = struct.Struct("=6Qq")  # `struct control` of injector.c
_UNNUMBERED = ("-shm",)  # SQLite's index of its log, which is made anew


@dataclass(frozen=True)
class Point:
    """The `number`-th call of a run: it changes a file, `path` below the directory, or sends `path`: where to, and what."""

    number: int
    call: str
    path: str

    @property
    def is_request(self) -> bool:
        return bool(self.path) and not self.path.startswith("/")

    @property
    def kind(self) -> tuple[str, str]:
        """What it does, without the names that differ from run to run."""
        if self.is_request:
            return self.call, " ".join(self.path.split()[:3])
        directory, _, name = self.path.rpartition("/")
        return self.call, f"{directory}/*{Path(name).suffix}" if name else directory


@dataclass(frozen=True)
class Injection:
    """What is to happen to a process, and where its calls are counted. `do` is as injector.c has it."""

    directory: Path  # whose files count
    place: Path  # for the count and the log
    at: int = 0
    do: str = ""
    times: int = 1
    requests: bool = False  # whether what is sent to servers counts too

    def environment(self) -> dict[str, str]:
        self.place.mkdir(exist_ok=True)
        count = self.place / "count"
        count.write_bytes(bytes(_CONTROL.size))
        (self.place / "log").unlink(missing_ok=True)
        return {
            "LD_PRELOAD": str(injector()),
            "INJECT_ROOT": str(self.directory),
            "INJECT_COUNT": str(count),
            "INJECT_LOG": str(self.place / "log"),
            "INJECT_AT": str(self.at),
            "INJECT_DO": self.do,
            "INJECT_TIMES": str(self.times),
            "INJECT_NET": str(int(self.requests)),
        }

    def points(self) -> list[Point]:
        """What was counted, in order."""
        log = self.place / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        found = []
        for line in lines:
            number, call, path = line.split(" ", 2)
            found.append(Point(int(number), call, path))
        return sorted(found, key=lambda point: point.number)

    def at_point(self, number: int, do: str, times: int = 1) -> Injection:
        return replace(self, at=number, do=do, times=times)

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> int:
        """The command's exit code; negative for a signal."""
        return subprocess.run(
            list(map(str, command)),
            env={**environment, **self.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        ).returncode


class Calls(IntFlag):
    """Classes of calls, as injector.c has them."""

    CHANGES = 1  # of a file or directory
    SPACE = 2  # those that need some
    READS = 4
    OPENS = 8  # that make a descriptor
    MEMORY = 16  # that ask for some
    THREADS = 32
    CLOCK = 64
    ANYWHERE = 128  # also those that are of no file below the directory


WHO_MEETS = {
    errno.ENOSPC: Calls.SPACE,
    errno.EIO: Calls.CHANGES | Calls.READS,
    errno.EMFILE: Calls.OPENS | Calls.ANYWHERE,
    errno.ENOMEM: Calls.MEMORY | Calls.ANYWHERE,
    errno.EAGAIN: Calls.THREADS | Calls.ANYWHERE,
}
"""Which calls may end with an errno."""


@dataclass(frozen=True)
class Commanded:
    """What strikes a running process, by command. `directory` is whose files count, `place` is for what is commanded."""

    directory: Path
    place: Path

    def environment(self) -> dict[str, str]:
        return Injection(self.directory, self.place, do="command").environment()

    @contextmanager
    def struck(
        self,
        failure: int,
        at: int,
        times: int = 1,
        *,
        bytes_min: int = 0,
        only_below: bool = False,
        timeout_s: float = FAULT_S,
    ) -> Iterator[None]:
        """Meanwhile `times` calls fail, beginning with the `at`-th.

        Args:
            failure: the errno, one of WHO_MEETS.
            bytes_min: smaller allocations do not count.
            only_below: only calls on files below the directory count, whatever the errno.
            timeout_s: it heals by itself then, for who cannot go on before.
        """
        (self.place / "log").write_bytes(b"")
        classes = WHO_MEETS[failure] & ~Calls.ANYWHERE if only_below else WHO_MEETS[failure]
        self._command(at, times, failure, classes, bytes_min)
        healing = threading.Timer(timeout_s, self.heal)
        healing.start()
        try:
            yield
        finally:
            healing.cancel()
            healing.join()
            self.heal()

    def jump(self, seconds: int) -> None:
        """From now on the time of day is so much later than it is."""
        self._command(classes=Calls.CLOCK, jump_s=seconds)

    def heal(self) -> None:
        """Nothing fails any more, and the clock is right."""
        self._command()

    def failed(self) -> list[str]:
        """The calls that failed since the last command to."""
        return (self.place / "log").read_text().splitlines()

    def _command(
        self, at: int = 0, times: int = 0, failure: int = 0, classes: int = 0, bytes_min: int = 0, jump_s: int = 0
    ) -> None:
        with (self.place / "count").open("r+b") as file:
            file.write(_CONTROL.pack(0, at, times, failure, classes, bytes_min, jump_s))


@cache
def injector() -> Path:
    """The compiled library; gcc is there, since pyfuse3 is compiled."""
    place = Path(mkdtemp(prefix="artfs-injector-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    library = place / "injector.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return library


def distinct(points: Sequence[Point]) -> list[Point]:
    """One after the other without repetition: of equal calls in a row the first, the middle one and the last."""
    counted = [point for point in points if not point.path.endswith(_UNNUMBERED)]
    found = []
    for _, group in groupby(counted, key=lambda point: (point.call, point.path)):
        row = list(group)
        found += [row[i] for i in sorted({0, len(row) // 2, len(row) - 1})]
    return found


def spread(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many of them, from beginning to end: one of each kind if that is enough, then others."""
    if len(points) <= most:
        return list(points)
    by_kind = {point.kind: point for point in reversed(points)}
    found = {point.number: point for point in by_kind.values()}
    for point in _evenly(points, max(0, most - len(found))):
        found[point.number] = point
    return _evenly(sorted(found.values(), key=lambda point: point.number), min(most, len(found)))


def _evenly(points: Sequence[Point], count: int) -> list[Point]:
    return [points[int((i + 0.5) * len(points) / count)] for i in range(count)]


def kills(points: Iterable[Point]) -> Iterator[tuple[Point, str]]:
    """What is to be done at each: a kill before it, and if it is a write one in the middle of it; of a request a kill when it was
    sent, and the loss of its answer.
    """
    for point in points:
        yield point, "kill"
        if point.is_request:
            yield point, "after"
            yield point, LOSE
        elif point.call in TORN:
            yield point, "tear"


def restore(template: Path, directory: Path) -> None:
    """`directory` as `template` was."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(template, directory, symlinks=True)
    os.sync()
