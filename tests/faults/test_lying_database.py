"""A connection to PostgreSQL that breaks at each message of an operation: done once or not at all, in time, and sound after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from artfs.errors import NotFound, Unavailable
from artfs.registry.fsck import check_registry
from artfs.registry.sql_registry import SqlRegistry
from tests.contract.uploading import commit, content_of, fetch
from tests.faults.operations import After, Do, Operations
from tests.faults.wire import Wire
from tests.postgres_server import own_postgres
from tests.registries import administer, migrated_database, open_postgres_registry, url_of
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("once", "whole", "no-hang", "durable"), pytest.mark.postgres]

OPERATIONS = ("list", "commit", "alias", "delete")
TIMEOUT_S = 2.0  # of waiting for other writers, where a test waits for it
ANSWER_S = 3.0
BOUND_S = 20.0  # connecting, beginning, and an answer, each in vain, and again for the next transaction
MESSAGES_MAX = 1000
LEAST = 4  # messages of the shortest operation


@dataclass
class Database(Operations):
    """A registry over PostgreSQL behind a wire that breaks."""

    registry: SqlRegistry
    wire: Wire

    def numbers(self, artifact: str) -> list[int]:
        return [version.number for version in self.registry.versions.list("vision", artifact)]

    def _list(self, artifact: str) -> tuple[Do, After]:
        commit(self.registry, "vision", artifact, {"a": b"x"}, "best")

        def do() -> None:
            assert artifact in [found.name for found in self.registry.artifacts.list("vision")]
            assert self.numbers(artifact) == [0]
            assert self.registry.aliases.list("vision", artifact) == {"best": 0, "latest": 0}

        return do, lambda is_done: do()

    def _commit(self, artifact: str) -> tuple[Do, After]:
        content = content_of({"a": self.dice.randbytes(5000), "d": {"b": self.dice.randbytes(300)}})

        def do() -> None:
            commit(self.registry, "vision", artifact, content, "best", now_ns=time.time_ns())

        def after(is_done: bool) -> None:
            if is_done:
                assert self.numbers(artifact) == [0]
            do()
            assert self.numbers(artifact) == [0]
            assert self.registry.aliases.list("vision", artifact) == {"best": 0, "latest": 0}
            assert all(fetch(self.registry, "vision", key) == data for key, data in content.objects.items())

        return do, after

    def _two_versions(self, artifact: str) -> None:
        for text in (b"0", b"1"):
            commit(self.registry, "vision", artifact, {"f": text + artifact.encode()}, now_ns=time.time_ns())

    def _alias(self, artifact: str) -> tuple[Do, After]:
        self._two_versions(artifact)

        def do() -> None:
            self.registry.aliases.move("vision", artifact, "best", 0)

        def after(is_done: bool) -> None:
            possible = [{"best": 0, "latest": 1}, *([] if is_done else [{"latest": 1}])]
            assert self.registry.aliases.list("vision", artifact) in possible
            do()
            assert self.registry.aliases.list("vision", artifact) == {"best": 0, "latest": 1}

        return do, after

    def _delete(self, artifact: str) -> tuple[Do, After]:
        self._two_versions(artifact)

        def do() -> None:
            self.registry.versions.delete("vision", artifact, [0])

        def after(is_done: bool) -> None:
            assert self.numbers(artifact) in [[1], *([] if is_done else [[0, 1]])]
            with suppress(NotFound):
                do()
            assert self.numbers(artifact) == [1]

        return do, after

    def assert_sound(self) -> None:
        self.registry.collection.collect(wait=True)
        report = check_registry(self.registry.resources)
        assert [str(finding) for finding in report.findings] == []

    def messages(self, operation: str) -> int:
        """How many the client sends for it when all is well."""
        do, after = self.prepare(operation)
        self.wire.strike("slow", at=1 << 30)
        do()
        count = self.wire.messages
        after(True)
        return count

    def attempt(self, operation: str, kind: str, at: int, event: Callable[[], None] | None = None) -> bool:
        """One cell; whether the fault struck."""
        do, after = self.prepare(operation)
        self.wire.strike(kind, at=at, event=event)
        began_s, is_done = time.monotonic(), False
        try:
            with suppress(Unavailable):
                do()
                is_done = True
            took_s = time.monotonic() - began_s
        finally:
            self.wire.heal()
        assert took_s < BOUND_S, f"{operation} took {took_s} s"
        after(is_done)
        return self.wire.struck


@contextmanager
def behind_a_wire(url: str, root: Path, timeout_s: float) -> Iterator[Database]:
    parts = conninfo_to_dict(url)
    with Wire.to(str(parts["host"]), int(str(parts["port"]))) as wire:
        registry = open_postgres_registry(make_conninfo(url, port=wire.port), root, timeout_s=timeout_s)
        try:
            registry.projects.create("vision")
            yield Database(registry, wire)
        finally:
            wire.heal()
            registry.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with migrated_database() as url, behind_a_wire(url, tmp_path, TIMEOUT_S) as made:
        yield made


def try_at(database: Database, operation: str, kind: str, step: int, event: Callable[[], None] | None = None) -> None:
    """The fault at every `step`th message, up to the last; how many there are differs a little each time."""
    for at in range(0, MESSAGES_MAX, step):
        if not database.attempt(operation, kind, at, event):
            assert at >= LEAST
            break
        tried(f"the database's connection, {kind} at a message: {operation}")
    database.assert_sound()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_connection_cut_before_its_answer_leaves_nothing_half(database: Database, operation: str) -> None:
    try_at(database, operation, "cut after", 29 if operation in ("commit", "delete") else 3)


@pytest.mark.deep
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", ["cut before", "cut after"])
def test_a_connection_cut_at_any_message_leaves_nothing_half(database: Database, kind: str, operation: str) -> None:
    try_at(database, operation, kind, 1)


@pytest.mark.deep
@pytest.mark.timeout(580)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_database_in_a_black_hole_is_waited_for_only_so_long(
    database: Database, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.registry.postgres.ANSWER_TIMEOUT_S", ANSWER_S)
    try_at(database, operation, "black hole", max(1, database.messages(operation) // 8))


@pytest.mark.deep
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_slow_database_is_as_good_as_a_quick_one(database: Database, operation: str) -> None:
    do, after = database.prepare(operation)
    database.wire.strike("slow", at=0)
    do()
    database.wire.heal()
    after(True)
    tried(f"a slow database: {operation}")
    database.assert_sound()


@pytest.mark.deep
@pytest.mark.timeout(580)
def test_a_database_that_restarts_within_an_operation_leaves_nothing_half(tmp_path: Path) -> None:
    with own_postgres() as server:
        administer("CREATE DATABASE artfs", server=server.url)
        with behind_a_wire(url_of("artfs", server.url), tmp_path, TIMEOUT_S) as database:

            def restart() -> None:
                server.stop()
                server.start()

            for operation in OPERATIONS:
                try_at(database, operation, "event", max(1, database.messages(operation) // 12), restart)
