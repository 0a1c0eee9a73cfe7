"""Which versions the runs of this machine read and make through this mount.

A version is used by a run when a process of the run opens a file of it, or links one into a draft; looking and listing are not
use. An open tells only an inode, and equal files of two versions share one, so from `begin` on the inodes of files are
salted with their version (`inodes.told_apart`). What the kernel was told before then stays as it was, until its entry times
out: whoever walks a path from above the versions after `begin` has returned meets only inodes that tell their version. Owner
of everything here: the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Protocol

import trio

from artfs.errors import AccessDenied, NotFound
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.vfs.catalog import CATALOG_TIMEOUT_S
from artfs.vfs.door import Door, Lane
from artfs.vfs.edges import record_edges
from artfs.vfs.inodes import Inodes
from artfs.wire.records import SealResult
from artfs.wire.service import Registry

SETTLE_S = (
    CATALOG_TIMEOUT_S + 0.2
)  # after this no name in an artifact's directory has an old meaning; the rest is margin

_log = logging.getLogger(__name__)


class Processes(Protocol):
    """Which run a process of this machine belongs to."""

    def run_of(self, pid: int) -> RunRef | None:
        """The nearest run above a process or thread; None for 0 and for what is gone. Quick, never waits for a disk."""


class NoRuns:
    """Nobody belongs to a run."""

    def run_of(self, pid: int) -> RunRef | None:
        return None


class RunUses:
    """What one run did. Sets that keep the order."""

    def __init__(self) -> None:
        self.used: dict[VersionRef, None] = {}
        self.logged: dict[VersionRef, None] = {}
        self.unknown_count = 0  # opens of files that the process could reach by what it held open from before


class Uses:
    """What runs did through this mount, from `begin` on."""

    def __init__(self, inodes: Inodes, processes: Processes, registry: Registry, door: Door) -> None:
        self._inodes = inodes
        self._registry = registry
        self._door = door
        self._processes = processes
        self._settled_s = 0.0
        self._runs: dict[RunRef, RunUses] = {}

    async def begin(self, *, fresh: bool = False) -> None:
        """Tell versions apart from now on, for the rest of the mount's life; return when every path does.

        Args:
            fresh: the kernel knows no name yet.
        """
        if not self._inodes.told_apart:
            self._inodes.told_apart = True
            self._settled_s = trio.current_time() + (0.0 if fresh else SETTLE_S)
            _log.info("noting what runs read")
        await trio.sleep_until(self._settled_s)

    def run_of(self, pid: int) -> RunRef | None:
        """The run that a caller belongs to; None before `begin`."""
        return self._processes.run_of(pid) if self._inodes.told_apart else None

    def note_used(self, origin: VersionRef | None, pid: int) -> None:
        """A process opened or linked a file that was reached through `origin`."""
        run = self.run_of(pid)
        if run is None:
            return
        if origin is not None:
            if origin not in self._of(run).logged:  # reading what one made is no use of it
                self._of(run).used[origin] = None
        else:
            uses = self._of(run)
            uses.unknown_count += 1
            if uses.unknown_count == 1:
                _log.warning("process %d of run %s opened a file whose version is not known", pid, run)

    async def before_commit(self, run: RunRef) -> bool:
        """Record what `run` used so far, since what it used is older than what it logs now.

        False if this mount's user may not write to the run: `artfs run` records all of it then. Raises ArtfsError.
        """
        used = list(self._of(run).used)
        try:
            await self._door.run(Lane.METADATA, self._record_used, run, used)
        except (AccessDenied, NotFound) as error:
            _log.info("a commit of run %s is noted by the run itself: %s", run, error)
            return False
        return True

    def _record_used(self, run: RunRef, used: list[VersionRef]) -> None:
        self._registry.runs.log(run.project, run.id, [])  # whether it may be written to
        record_edges(self._registry.lineage, run, EdgeKind.USED, used)

    def note_logged(self, run: RunRef, result: SealResult) -> None:
        """A process of `run` committed."""
        version = VersionRef(result.version.project, result.version.artifact, result.version.number)
        if result.created or version not in self._of(run).used:  # storing again what one read is no making
            self._of(run).logged[version] = None

    def status(self) -> dict[str, Any]:
        """What `artfs status` shows; JSON-encodable."""
        return {
            "told_apart": self._inodes.told_apart,
            "runs": {str(run): {"used": len(of.used), "logged": len(of.logged)} for run, of in self._runs.items()},
        }

    def of(self, run: RunRef) -> RunUses:
        """What a run did so far."""
        return self._runs.get(run) or RunUses()

    def keep_only(self, runs: Collection[RunRef]) -> None:
        """Forget what others than `runs` did: they have ended."""
        self._runs = {run: uses for run, uses in self._runs.items() if run in runs}

    def _of(self, run: RunRef) -> RunUses:
        return self._runs.setdefault(run, RunUses())
