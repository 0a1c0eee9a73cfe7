"""The mount's side of `artfs run`: which runs are under way, and what it says of each when asked over the control socket.

`artfs run` asks once a second (`track`) and records what it hears itself, so a mount needs no rights for the run's project. The
first question makes the mount tell versions apart; one that begins while a run is under way does so from the start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import trio

from artfs.errors import ArtfsError
from artfs.fuse.running_runs import Ancestry, RunningRun, RunningRuns
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

    async def begin(self) -> None:
        """Before the first request: if a run is under way, tell versions apart from the start."""
        try:
            if not await self._look():
                return
        except ArtfsError as error:  # the registry is out of reach; a run that is of it asks again
            _log.info("cannot tell yet which runs are of this registry: %s", error)
        await self._uses.begin(fresh=True)

    async def track(self, request: Mapping[str, str]) -> Mapping[str, Any]:
        """Answer `{"request": "track", "run": "project/id"}`: the versions that the run used and logged here so far.

        Raises ArtfsError.
        """
        run = RunRef.parse(request.get("run", ""))
        running = await self._look()
        if run not in running:
            return {"used": [], "logged": [], "unknown": 0}
        await self._uses.begin()
        found = self._uses.of(run)
        return {
            "used": list(map(str, found.used)),
            "logged": list(map(str, found.logged)),
            "unknown": found.unknown_count,
        }

    async def _look(self) -> set[RunRef]:
        """The runs of this registry that are under way."""
        found: list[RunningRun] = await trio.to_thread.run_sync(self._records.list)
        if found and not self._identity:
            self._identity = await trio.to_thread.run_sync(lambda: self._registry.identity)
        ours = [running for running in found if running.registry == self._identity]
        runs = {running.run for running in ours}
        self._ancestry.set_running(ours)
        self._uses.keep_only(runs)
        return runs
