"""The runs that `artfs run` has under way on this machine: written down for the mounts, and found from a process by its ancestry.

One JSON file a run in the state directory. Its process is a child subreaper, so that what its descendants leave behind stays
below it; a process belongs to the nearest run above it. A record whose process is gone is removed by whoever meets it. Must not
import pyfuse3 or trio.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import msgspec

from artfs.errors import StorageFailed
from artfs.fuse.process_records import ProcessFacts, ProcessRecord, read_process
from artfs.model.lineage import RunRef, VersionRef
from artfs.store.durable import write_private
from artfs.wire.json import UNDECODABLE

REMEMBERED_S = 1.0  # how long a process is taken for the one that it was
REMEMBERED_MAX = 8192
ATTEMPTS_MAX = 3  # at climbing while processes end on the way


class RunningRun(ProcessRecord, frozen=True):
    """A run under way. `registry` is an identity."""

    run: RunRef
    registry: str


class RunTold(msgspec.Struct, frozen=True):
    """What a mount noted of a run so far; `unknown` counts files that it opened of which the version is not known."""

    used: list[VersionRef] = []
    logged: list[VersionRef] = []
    unknown: int = 0


class RunningRuns:
    """The records of all runs of this user. Raises StorageFailed where one cannot be written."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "runs"

    def write(self, running: RunningRun) -> None:
        path = self._path(running)
        try:
            write_private(path, msgspec.json.encode(running))
        except OSError as error:
            raise StorageFailed(f"cannot write {path}: {error.strerror}") from None

    def remove(self, running: RunningRun) -> None:
        self._remove(self._path(running))

    def leave(self, running: RunningRun, told: RunTold) -> None:
        """A mount that ends leaves what it would have told of a run."""
        path = self._path(running)
        if path.exists():
            write_private(path.with_suffix(f".left-{os.getpid()}"), msgspec.json.encode(told))

    def left(self, running: RunningRun) -> list[RunTold]:
        """What mounts told of a run when they ended."""
        paths = self._directory.glob(f"{self._path(running).stem}.left-*")
        return [msgspec.json.decode(path.read_bytes(), type=RunTold) for path in paths]

    def list(self) -> list[RunningRun]:
        """Those that are under way."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                running = msgspec.json.decode(path.read_bytes(), type=RunningRun)
            except FileNotFoundError:
                continue
            except (OSError, *UNDECODABLE):
                running = None
            if running is not None and running.is_alive:
                found.append(running)
            else:
                self._remove(path)
        return found

    def _remove(self, path: Path) -> None:
        for each in (path, *self._directory.glob(f"{path.stem}.left-*")):
            each.unlink(missing_ok=True)

    def _path(self, running: RunningRun) -> Path:
        name = f"{running.pid}-{running.started_ticks}-{running.run}"
        return self._directory / f"{sha256(name.encode()).hexdigest()[:16]}.json"


class Ancestry:
    """Which run a process belongs to. Reads /proc, which waits for no disk; owner: one thread.

    Args:
        read: facts of a process.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        read: Callable[[int], ProcessFacts | None] = read_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._roots: dict[int, RunningRun] = {}
        self._remembered: dict[int, tuple[float, RunRef | None]] = {}

    def set_running(self, runs: Iterable[RunningRun]) -> None:
        """From now on these are the runs under way."""
        roots = {running.pid: running for running in runs}
        if roots != self._roots:
            self._roots = roots
            self._remembered.clear()

    def run_of(self, pid: int) -> RunRef | None:
        """The nearest run above a process or thread, of which it is not itself the root."""
        if pid <= 0 or not self._roots:
            return None
        now_s = self._clock()
        remembered = self._remembered.get(pid)
        if remembered is not None and remembered[0] > now_s:
            return remembered[1]
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        for _ in range(ATTEMPTS_MAX):
            trail: list[int] = []
            try:
                run = self._climb(pid, now_s, trail)
            except ProcessLookupError:  # it ended meanwhile: what it left behind has another parent now
                continue
            for climbed in trail:
                self._remembered[climbed] = (now_s + REMEMBERED_S, run)
            return run
        return None

    def _climb(self, pid: int, now_s: float, trail: list[int]) -> RunRef | None:
        while True:
            facts = self._read(pid)
            if facts is None:
                raise ProcessLookupError(pid)
            trail.append(pid)
            root = self._roots.get(facts.parent)
            if root is not None and self._is(root):
                return root.run
            if facts.parent <= 1:
                return None
            remembered = self._remembered.get(facts.parent)
            if remembered is not None and remembered[0] > now_s:
                return remembered[1]
            pid = facts.parent

    def _is(self, root: RunningRun) -> bool:
        found = self._read(root.pid)
        return found is not None and found.started_ticks == root.started_ticks
