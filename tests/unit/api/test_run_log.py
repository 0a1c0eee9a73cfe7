"""What a run logs reaches the registry whole and in order, also when that is away for a while."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from artfs.api import run_log
from artfs.api.run_log import RunLog, condensed
from artfs.errors import RegistryUnavailable, RunNotFound
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, RunChange

pytestmark = [pytest.mark.falsifies("no-hang")]

WAIT_S = 20.0


class Keeper:
    """Remembers what it was told, and fails as it is told to."""

    def __init__(self) -> None:
        self.told: list[HistoryRow | RunChange] = []
        self.heartbeats = 0
        self.batches: list[int] = []
        self.failures: list[Exception] = []

    def update(self, project: str, run: str, change: RunChange, /) -> None:
        self._fail()
        self.told.append(change)

    def log(self, project: str, run: str, rows: Sequence[HistoryRow], /) -> None:
        self._fail()
        self.heartbeats += not rows
        self.batches.append(len(rows))
        self.told.extend(rows)

    @property
    def steps(self) -> list[int]:
        return [item.step for item in self.told if isinstance(item, HistoryRow)]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop()


@contextmanager
def _log(keeper: Keeper, heartbeat_s: float = 60.0, step: int = 0) -> Iterator[RunLog]:
    log = RunLog(keeper, "p", "r", step=step, heartbeat_s=heartbeat_s)
    try:
        yield log
    finally:
        log.stop()


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _raises(log: RunLog, error: type[Exception]) -> bool:
    try:
        log.add({"a": 2}, None, commit=True)
    except error:
        return True
    return False


def _row(step: int, **values: object) -> HistoryRow:
    return HistoryRow(step, 0, values)


def test_a_batch_becomes_rows_and_one_change_that_mean_the_same() -> None:
    items: list[HistoryRow | RunChange] = [
        RunChange(summary={"a": 1, "b": 1}, config={"lr": 1}),
        _row(0, a=2),
        RunChange(summary={"c": 3}),
        _row(1, d=1),
        RunChange(summary={"a": 4}, config={"lr": 2}),
        _row(2, c=5),
    ]
    rows, change = condensed(items)
    assert [row.step for row in rows] == [0, 1, 2]
    assert change == RunChange(summary={"b": 1, "a": 4}, config={"lr": 2})
    assert condensed([_row(0, a=1)]) == ([_row(0, a=1)], None)
    assert condensed([RunChange(summary={"a": 1}), _row(0, a=2)])[1] is None
    said = [RunChange(notes="first", tags=["x"]), RunChange(notes="then"), RunChange(summary={"a": 1})]
    assert condensed(said)[1] == RunChange(notes="then", tags=["x"], summary={"a": 1})


def test_a_summary_that_is_set_at_every_step_costs_no_request_each() -> None:
    keeper = Keeper()
    with _log(keeper) as log:
        for i in range(1000):
            log.add({"loss": i}, None, commit=True)
            log.change(RunChange(summary={"best": i}))
        log.flush()
    changes = [item for item in keeper.told if isinstance(item, RunChange)]
    assert keeper.steps == list(range(1000))
    assert changes[-1].summary == {"best": 999}
    assert len(keeper.batches) + len(changes) < 30


def test_what_is_logged_is_sent_soon_without_asking() -> None:
    keeper = Keeper()
    with _log(keeper) as log:
        log.add({"a": 1}, None, commit=True)
        _until(lambda: keeper.steps == [0])


def test_a_step_that_is_open_is_sent_when_it_is_over() -> None:
    keeper = Keeper()
    with _log(keeper, step=3) as log:
        log.add({"a": 1}, 5, commit=False)
        log.add({"b": 2}, 5, commit=False)
        assert log.step == 5
        log.add({"c": 3}, 6, commit=False)
        log.flush(current_step=False)
        assert keeper.steps == [5]
        log.flush()
    (first, second) = keeper.told
    assert isinstance(first, HistoryRow)
    assert isinstance(second, HistoryRow)
    assert {"a", "b", "_step", "_timestamp"} == set(first.values)
    assert (second.step, second.values["c"], second.values["_step"]) == (6, 3, 6)


def test_many_rows_are_sent_in_batches_and_whoever_logs_too_fast_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "BATCH_WAIT_S", 60.0)
    keeper = Keeper()
    with _log(keeper) as log:
        for i in range(run_log.WAITING_MAX + 2):
            log.add({"i": i}, None, commit=True)
        assert keeper.steps == list(range(run_log.WAITING_MAX + 1))
        log.flush()
    assert keeper.steps == list(range(run_log.WAITING_MAX + 2))
    assert max(keeper.batches) == HISTORY_ROWS_MAX


def test_a_run_that_logs_nothing_says_that_it_lives() -> None:
    keeper = Keeper()
    with _log(keeper, heartbeat_s=0.01):
        _until(lambda: keeper.heartbeats >= 3)


def test_a_registry_that_is_away_for_a_while_loses_nothing() -> None:
    keeper = Keeper()
    keeper.failures = [RegistryUnavailable("away"), RegistryUnavailable("away")]
    with _log(keeper) as log:
        log.add({"a": 1}, None, commit=True)
        log.change(RunChange(summary={"a": 2}))
        _until(lambda: len(keeper.told) == 2)
        keeper.failures = [RegistryUnavailable("away")]
        log.add({"a": 3}, None, commit=True)
        with pytest.raises(RegistryUnavailable):
            log.flush()
        log.flush()
    assert keeper.steps == [0, 1]


def test_what_cannot_be_kept_is_told_to_whoever_logs_next() -> None:
    keeper = Keeper()
    keeper.failures = [RunNotFound("deleted")]
    with _log(keeper) as log:
        log.add({"a": 1}, None, commit=True)
        _until(lambda: not keeper.failures)
        _until(lambda: _raises(log, RunNotFound))
        log.flush()


def test_threads_that_log_at_once_lose_no_row() -> None:
    keeper = Keeper()
    with _log(keeper) as log:
        threads = [
            threading.Thread(target=lambda: [log.add({"a": 1}, None, commit=True) for _ in range(500)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        log.flush()
    assert keeper.steps == list(range(2000))


class SlowKeeper(Keeper):
    """Is busy until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy = False
        self.busy = threading.Event()
        self.let_go = threading.Event()

    def log(self, project: str, run: str, rows: Sequence[HistoryRow], /) -> None:
        self.is_busy = True
        self.busy.set()
        self.let_go.wait(WAIT_S)
        self.is_busy = False
        super().log(project, run, rows)


def _fork_while_sending(keeper: SlowKeeper, let_go_s: float) -> bool:
    """Whether a child was forked while something was being sent."""
    with _log(keeper) as log:
        log.add({"x": 1}, None, commit=True)
        sending = threading.Thread(target=log.flush)
        sending.start()
        assert keeper.busy.wait(WAIT_S)
        timer = threading.Timer(let_go_s, keeper.let_go.set)
        timer.start()
        child = os.fork()
        if child == 0:
            os._exit(int(keeper.is_busy))
        timer.cancel()
        keeper.let_go.set()
        sending.join(WAIT_S)
        assert keeper.steps == [0]
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_child_is_not_forked_while_something_is_sent_unless_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _fork_while_sending(SlowKeeper(), 0.1)
    monkeypatch.setattr(run_log, "FORK_WAIT_S", 0.05)
    assert _fork_while_sending(SlowKeeper(), WAIT_S)
