"""The mount's side of `artfs run`: which runs are under way, and what it says of each when asked over the control socket.

`artfs run` asks once a second (`track`) and records what it hears itself, so a mount needs no rights for the run's project. The
first question makes the mount tell versions apart; one that begins while a run is under way does so from the start.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import trio
from msgspec import to_builtins

from artfs.errors import ArtfsError
from artfs.fuse.running_runs import Ancestry, RunningRun, RunningRuns, RunTold
from artfs.model.lineage import RunRef
from artfs.vfs.uses import Uses
from artfs.wire.service import Registry

TRACK = "track"

_log = logging.getLogger(__name__)


class Tracking:
    """Follows the records of running runs for one mount. Owner of everything here: the event loop."""

    def __init__(self, records: RunningRuns, registry: Registry, ancestry: Ancestry, uses: Uses) -> None:
        self._records = records
        self._registry = registry
        self._ancestry = ancestry
        self._uses = uses
        self._identity = ""
        self._running: dict[RunRef, RunningRun] = {}

    async def begin(self) -> None:
        """Before the first request: if a run is under way, tell versions apart from the start."""
        try:
            if not await self._look():
                return
        except ArtfsError as error:  # the registry is out of reach; a run that is of it asks again
            _log.info("cannot tell yet which runs are of this registry: %s", error)
        await self._uses.begin(fresh=True)

    async def track(self, request: Mapping[str, str]) -> Any:
        """Answer `{"request": "track", "run": "project/id"}`: the versions that the run used and logged here so far.

        Raises ArtfsError.
        """
        run = RunRef.parse(request.get("run", ""))
        running = await self._look()
        if run in running:
            await self._uses.begin()
        return to_builtins(self._told(run))

    def end(self) -> None:
        """Leave what was noted to the runs that are still under way. After the last request."""
        try:
            for run, running in self._running.items():
                self._records.leave(running, self._told(run))
        except OSError as error:
            _log.warning("cannot leave word of what runs read: %s", error)

    def _told(self, run: RunRef) -> RunTold:
        found = self._uses.of(run)
        return RunTold(list(found.used), list(found.logged), found.unknown_count)

    async def _look(self) -> Collection[RunRef]:
        """The runs of this registry that are under way."""
        found: list[RunningRun] = await trio.to_thread.run_sync(self._records.list)
        if found and not self._identity:
            self._identity = await trio.to_thread.run_sync(lambda: self._registry.identity)
        self._running = {running.run: running for running in found if running.registry == self._identity}
        self._ancestry.set_running(self._running.values())
        self._uses.keep_only(self._running.keys())
        return self._running.keys()
