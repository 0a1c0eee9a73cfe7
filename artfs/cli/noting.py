"""What `artfs run` does beside the command: says that the run lives, asks the mounts what it read, records that.

Owner of what was recorded: one thread at a time, the noting one while it runs. A registry that is away for a while is tried again
at each look, and for a while at the end; what could not be recorded is told then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from artfs.errors import ArtfsError, Unavailable
from artfs.fuse.observing import Observed
from artfs.model.lineage import RUN_LAPSE_S, EdgeKind, RunRef, RunState, VersionRef
from artfs.vfs.edges import record_edges
from artfs.wire.runs import RunChange, RunEdges
from artfs.wire.service import Registry

LOOK_S = 1.0
ALIVE_S = RUN_LAPSE_S / 4
LAST_TRIES_S = 15.0
TRY_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What became of a run. `error` says why what is `missing` could not be recorded."""

    edges: RunEdges = field(default_factory=RunEdges)
    missing: dict[EdgeKind, list[VersionRef]] = field(default_factory=dict)
    unknown: int = 0
    silent: list[str] = field(default_factory=list)
    error: str = ""


class RunNotes:
    """Keeps the registry's record of one run.

    Args:
        observe: asks the mounts.
        besides: what the command uses that no mount sees.
        last_tries_s: how long a registry that is away is tried at the end.
    """

    def __init__(
        self,
        registry: Registry,
        run: RunRef,
        observe: Callable[[], Observed],
        *,
        besides: Collection[VersionRef] = (),
        last_tries_s: float = LAST_TRIES_S,
    ) -> None:
        self._registry = registry
        self._run = run
        self._observe = observe
        self._last_tries_s = last_tries_s
        self._settled: set[tuple[EdgeKind, VersionRef]] = set()  # recorded, or never to be
        self._observed = Observed()
        self._besides = frozenset(besides)
        self._alive_due_s = 0.0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note once a second, in a thread, while the context lasts."""
        ended = threading.Event()
        thread = threading.Thread(target=self._keep, args=(ended,), name="noting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def finish(self, exit_code: int) -> Outcome:
        """Look once more, record the rest and how the run ended. Never raises: what failed is in the outcome."""
        self._observed = self._observe()
        state = RunState.FINISHED if exit_code == 0 else RunState.FAILED
        outcome = Outcome(unknown=self._observed.unknown, silent=self._observed.silent)
        deadline = time.monotonic() + self._last_tries_s
        while True:
            try:
                self._record()
                self._registry.runs.update(*_path(self._run), RunChange(state=state, exit_code=exit_code))
                outcome.edges, outcome.error = self._registry.lineage.of_run(*_path(self._run)), ""
                return outcome
            except Unavailable as error:
                outcome.error = str(error)
                if time.monotonic() > deadline:
                    break
                time.sleep(TRY_S)
            except ArtfsError as error:
                outcome.error = str(error)
                break
        outcome.missing = self._unsettled()
        return outcome

    def look(self) -> None:
        """Say that the run lives, and record what the mounts noted since the last look. Raises ArtfsError."""
        if time.monotonic() >= self._alive_due_s:
            self._registry.runs.log(*_path(self._run), [])
            self._alive_due_s = time.monotonic() + ALIVE_S
        self._observed = self._observe()
        self._record()

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_S):
            try:
                self.look()
            except ArtfsError as error:
                _log.info("cannot note what %s does: %s", self._run, error)

    def _unsettled(self) -> dict[EdgeKind, list[VersionRef]]:
        """What is to be recorded, in that order: what a run used is older than what it logged."""
        used = self._observed.used | self._besides
        observed = {EdgeKind.USED: used, EdgeKind.LOGGED: self._observed.logged}
        return {
            kind: sorted(version for version in versions if (kind, version) not in self._settled)
            for kind, versions in observed.items()
        }

    def _record(self) -> None:
        for kind, versions in self._unsettled().items():
            if versions:
                record_edges(self._registry.lineage, self._run, kind, versions)
                self._settled.update((kind, version) for version in versions)


def _path(run: RunRef) -> tuple[str, str]:
    return run.project, run.id
