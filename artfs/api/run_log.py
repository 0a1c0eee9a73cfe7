"""What a run logs, on its way to the registry: collected by the caller's threads, sent in batches by one thread of its own.

That thread is also the run's heartbeat: also when nothing was logged, it says in time that the run lives.

Owner of what waits: `RunLog`, under its lock. Only one thread sends at a time, under another, so that the order is kept. A fork
waits for what is being sent: the child would inherit locks, of SQLite among others, of a thread that it does not have.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from artfs.errors import ArtfsError, Unavailable
from artfs.model.lineage import RUN_LAPSE_S
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, RunChange

BATCH_WAIT_S = 1.0  # what is logged is sent after at most this
HEARTBEAT_S = RUN_LAPSE_S / 4
WAITING_MAX = 10_000  # more, and whoever logs waits until they are sent
STOP_S = 10.0
FORK_WAIT_S = 1.0  # for a registry that does not answer; it is far, then, and holds no locks here
STEP = "_step"
TIME = "_timestamp"

_log = logging.getLogger(__name__)

Item = HistoryRow | RunChange


class Keeper(Protocol):
    """What of `wire.service.Runs` a log needs."""

    def update(self, project: str, run: str, change: RunChange, /) -> object: ...
    def log(self, project: str, run: str, rows: Sequence[HistoryRow], /) -> None: ...


class RunLog:
    """The history and the summary of a run under way. Safe to use from several threads of one process.

    Args:
        step: the first step.
        clock_ns: nanoseconds since the epoch.
    """

    def __init__(
        self,
        keeper: Keeper,
        project: str,
        run: str,
        *,
        step: int = 0,
        clock_ns: Callable[[], int] = time.time_ns,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._keeper = keeper
        self._project = project
        self._run = run
        self._clock_ns = clock_ns
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Condition()
        self._sending = threading.Lock()
        self._waiting: deque[Item] = deque()
        self._open: dict[str, Any] = {}  # the row of the current step, until the step is over
        self._step = step
        self._is_stopping = False
        self._failed: ArtfsError | None = None
        self._thread = threading.Thread(target=self._work, name=f"artfs-run-{run}", daemon=True)
        self._thread.start()

    @property
    def step(self) -> int:
        """The step that is logged next."""
        return self._step

    def add(self, values: Mapping[str, Any], step: int | None, *, commit: bool) -> dict[str, Any]:
        """Log values at a step, the current one if None; what the summary gets of them.

        A step before the current one is over: its values are dropped, with a line in the log.

        Raises what sending raised before: then what was to be sent is lost.
        """
        with self._lock:
            self._raise_failed()
            if step is not None and step < self._step:
                _log.warning("values of step %d of run %s are dropped: step %d is reached", step, self._run, self._step)
                return {}
            if step is not None and step > self._step:
                self._end_step()
                self._step = step
            self._open.update(values)
            noted = {**values, STEP: self._step, TIME: self._clock_ns() / 1e9}
            if commit:
                self._end_step()
                self._step += 1
            must_send = len(self._waiting) > WAITING_MAX
        if must_send:
            self.flush(current_step=False)
        return noted

    def change(self, change: RunChange) -> None:
        """Set keys of the configuration or the summary, in order with what is logged."""
        with self._lock:
            self._raise_failed()
            self._waiting.append(change)
            self._lock.notify_all()

    def flush(self, *, current_step: bool = True) -> None:
        """Return when all is kept in the registry. Raises what sending raises.

        Args:
            current_step: also what was logged of a step that is not over.
        """
        if current_step:
            with self._lock:
                self._end_step()
        self._send()
        with self._lock:
            self._raise_failed()

    def stop(self) -> None:
        """End the thread; what still waits is not sent. Repeatable."""
        with self._lock:
            self._is_stopping = True
            self._lock.notify_all()
        self._thread.join(STOP_S)

    def _end_step(self) -> None:
        """Let what was logged of the current step wait to be sent. Under the lock."""
        if self._open:
            now_ns = self._clock_ns()
            values = {**self._open, STEP: self._step, TIME: now_ns / 1e9}
            self._waiting.append(HistoryRow(self._step, now_ns, values))
            self._open = {}
            self._lock.notify_all()

    def _raise_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _work(self) -> None:
        """In the thread."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._is_stopping or self._waiting, self._heartbeat_s)
                if self._waiting:  # more may come soon
                    self._lock.wait_for(lambda: self._is_stopping, BATCH_WAIT_S)
                if self._is_stopping:
                    return
            self._send_quietly()

    def _send_quietly(self) -> None:
        """Send what waits, or say that the run lives. What is not available now is tried again by the next turn."""
        try:
            if not self._send():
                with _undivided:
                    self._keeper.log(self._project, self._run, [])
        except Unavailable as error:
            _log.warning("what run %s logged is not sent yet: %s", self._run, error)
        except ArtfsError as error:
            _log.error("what run %s logged is lost: %s", self._run, error)
            with self._lock:
                self._failed = error

    def _send(self) -> bool:
        """Send all that waits, a batch at a time; whether there was any.

        A batch that fails is lost, unless that is for a registry that is not available.
        """
        with self._sending:
            sent = False
            while batch := self._next_batch():
                rows, change = condensed(batch)
                try:
                    with _undivided:
                        if rows:
                            self._keeper.log(self._project, self._run, rows)
                            rows = []
                        if change is not None:
                            self._keeper.update(self._project, self._run, change)
                except Unavailable:
                    with self._lock:
                        self._waiting.extendleft(reversed([*rows, *([] if change is None else [change])]))
                    raise
                sent = True
            return sent

    def _next_batch(self) -> list[Item]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), HISTORY_ROWS_MAX))]


def condensed(batch: Sequence[Item]) -> tuple[list[HistoryRow], RunChange | None]:
    """Rows to log, and a change to make after them, that together do what the items do one after another."""
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    said = RunChange()
    rows = []
    for item in batch:
        if isinstance(item, HistoryRow):
            rows.append(item)
            for key in item.values:  # logging it sets the summary's
                summary.pop(key, None)
        else:
            config.update(item.config or {})
            summary.update(item.summary or {})
            said = RunChange(
                notes=said.notes if item.notes is None else item.notes,
                tags=said.tags if item.tags is None else item.tags,
            )
    change = RunChange(notes=said.notes, tags=said.tags, config=config or None, summary=summary or None)
    return rows, None if change == RunChange() else change


class _Undivided:
    """A block during which this process is not forked, or not for FORK_WAIT_S."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forking = threading.local()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        self._forking.waited = self._lock.acquire(timeout=FORK_WAIT_S)

    def after_in_parent(self) -> None:
        if self._forking.waited:
            self._lock.release()

    def after_in_child(self) -> None:
        self._lock = threading.Lock()


_undivided = _Undivided()
os.register_at_fork(
    before=_undivided.before_fork,
    after_in_parent=_undivided.after_in_parent,
    after_in_child=_undivided.after_in_child,
)
