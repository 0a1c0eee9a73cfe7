"""Threads that take turns as a seed says, and a registry whose steps are those turns.

A step is one transaction, one file of the pack store, or one try for the maintenance lock. Before each a thread hands over to
whichever the seed chooses, so a history of several callers is one of the orders in which their steps can happen, and the same
seed gives it again. A caller may also end at a step, as a process does that is killed: what it began stays as it is.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, cast

from artfs.registry.database import Database, Transaction
from artfs.registry.maintenance_lock import MaintenanceLock
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.packs import PackStore

HISTORY_S = 60.0
_STORE_STEPS = ("ingest", "read", "open", "delete")


class Killed(BaseException):
    """The caller is no more."""


class Turns:
    """Who runs: one thread at a time. Threads that it did not start pass every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str]] = []
        self.killed: set[int] = set()
        self._me = threading.local()

    def run(self, programs: Sequence[Callable[[], None]], chance: random.Random, kill_at: dict[int, int]) -> None:
        """Run all programs to their end. Raises what one of them raises.

        Args:
            kill_at: programs, by position, and before which of their steps they end.
        """
        self.steps, self.killed = [], set()
        self._chance, self._kill_at = chance, kill_at
        self._waiting = [threading.Semaphore(0) for _ in programs]
        self._alive = list(range(len(programs)))
        with ThreadPoolExecutor(len(programs)) as threads:
            running = [threads.submit(self._run_one, who, program) for who, program in enumerate(programs)]
            self._pass_on()
            for one in running:
                one.result(HISTORY_S)

    def step(self, what: str) -> None:
        """Let others go first, if it is their turn."""
        who = getattr(self._me, "who", None)
        if who is None or getattr(self._me, "undisturbed", False):
            return
        self._pass_on()
        self._waiting[who].acquire()
        self.steps.append((who, what))
        if who in self._kill_at:
            self._kill_at[who] -= 1
            if self._kill_at[who] < 0:
                self.killed.add(who)
                raise Killed

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """What this thread does meanwhile is part of one step."""
        self._me.undisturbed = True
        try:
            yield
        finally:
            self._me.undisturbed = False

    def _run_one(self, who: int, program: Callable[[], None]) -> None:
        self._me.who = who
        self._waiting[who].acquire()
        try:
            with suppress(Killed):
                program()
        finally:
            self._alive.remove(who)
            self._pass_on()

    def _pass_on(self) -> None:
        if self._alive:
            self._waiting[self._chance.choice(self._alive)].release()


class _Database:
    """A `Database` whose transactions are steps. Nobody is suspended within one: writers exclude each other anyway."""

    def __init__(self, database: Database, turns: Turns) -> None:
        self._database = database
        self._turns = turns
        self.dialect = database.dialect

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        self._turns.step("read")
        with self._turns.undisturbed(), self._database.read() as tx:
            yield tx

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Transaction]:
        self._turns.step("write")
        with self._turns.undisturbed(), self._database.write(durable=durable) as tx:
            yield tx

    def stamp(self) -> object:
        return self._database.stamp()

    def close(self) -> None:
        self._database.close()


class _Store:
    """A `PackStore` of which storing, reading and deleting a pack are steps."""

    def __init__(self, store: PackStore, turns: Turns) -> None:
        self._store = store
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in _STORE_STEPS:
            return found

        def stepped(*arguments: Any) -> Any:
            self._turns.step(name)
            return found(*arguments)

        return stepped


def _lock(lock: MaintenanceLock, turns: Turns) -> MaintenanceLock:
    """The lock, tried again and again rather than waited for: its holder is waiting for its turn."""

    @contextmanager
    def stepped(*, wait: bool) -> Iterator[bool]:
        while True:
            turns.step("lock")
            with lock(wait=False) as held:
                if held or not wait:
                    yield held
                    return

    return stepped


def stepped_registry(registry: SqlRegistry, turns: Turns) -> SqlRegistry:
    """The same registry, in steps. Closing it closes the other."""
    resources = replace(
        registry.resources,
        database=_Database(registry.resources.database, turns),
        store=cast(PackStore, _Store(registry.resources.store, turns)),
        maintenance_lock=_lock(registry.resources.maintenance_lock, turns),
    )
    return SqlRegistry(registry.identity, resources)
