"""Random histories of a registry against a model in plain Python, over two databases and two storages.

The model decides by brute-force reachability which objects must exist. After every step the registry must hold exactly those,
and the packs exactly the bytes of those: nothing lost, no trace left.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.packs import PackStore
from tests.property.registry_machine import RegistryMachine
from tests.registries import migrated_database, open_postgres_registry
from tests.stores import STORES

pytestmark = [pytest.mark.falsifies("model", "deletion")]


class PostgresMachine(RegistryMachine):
    """The same over PostgreSQL, a database for each history."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._url = self._stack.enter_context(migrated_database())
        self._store: PackStore | None = None

    def _open(self) -> SqlRegistry:
        return open_postgres_registry(
            self._url,
            self.root / "registry",
            store=self._store,
            clock=self.clock,
            random_bytes=self.random.randbytes,
        )

    def teardown(self) -> None:
        with self._stack:
            super().teardown()


class PostgresS3Machine(PostgresMachine):
    """The same with packs in a bucket, below a prefix for each history."""

    def __init__(self) -> None:
        super().__init__()
        self._store = self._stack.enter_context(STORES["s3"](Path())).store


class S3Machine(RegistryMachine):
    """SQLite, and packs in a bucket."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._store = self._stack.enter_context(STORES["s3"](Path())).store

    def _open(self) -> SqlRegistry:
        return EmbeddedRegistry(
            self.root / "registry", store=self._store, clock=self.clock, random_bytes=self.random.randbytes
        )

    def teardown(self) -> None:
        with self._stack:
            super().teardown()


def run_machine(examples: int, machine: type[RegistryMachine] = RegistryMachine) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))


def test_random_histories_keep_exactly_what_is_held() -> None:
    run_machine(40)


@pytest.mark.postgres
def test_random_histories_over_postgres_keep_exactly_what_is_held() -> None:
    run_machine(15, PostgresMachine)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_many_random_histories_keep_exactly_what_is_held() -> None:
    run_machine(2000)


@pytest.mark.deep
@pytest.mark.postgres
@pytest.mark.timeout(1800)
def test_many_random_histories_over_postgres_keep_exactly_what_is_held() -> None:
    run_machine(200, PostgresMachine)


@pytest.mark.deep
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_many_random_histories_over_s3_keep_exactly_what_is_held() -> None:
    run_machine(30, S3Machine)


@pytest.mark.deep
@pytest.mark.postgres
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_many_random_histories_over_postgres_and_s3_keep_exactly_what_is_held() -> None:
    run_machine(30, PostgresS3Machine)
