"""Registries over PostgreSQL for tests: a database each, copied from one that is migrated, and dropped afterwards."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.migrations import migrate, settle_identity
from artfs.registry.postgres import BUSY_TIMEOUT_S, PostgresDatabase
from artfs.registry.resources import Clock, RandomBytes, Resources, Verify
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.packs import LocalPackStore, PackStore

_TEMPLATE = f"artfs_template_{os.getpid()}_{secrets.token_hex(4)}"
_made: list[str] = []


def url_of(database: str, server: str | None = None) -> str:
    return conninfo.make_conninfo(server or os.environ["ARTFS_TEST_POSTGRES"], dbname=database)


def administer(*statements: str, server: str | None = None) -> None:
    """Statements about databases, on the server of the tests or another one."""
    with psycopg.connect(url_of("postgres", server), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def empty_database() -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"artfs_test_{secrets.token_hex(8)}"
    administer(f"CREATE DATABASE {name}")
    try:
        yield url_of(name)
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def migrated_database() -> Iterator[str]:
    """The URL of a database with all tables and no rows: a copy, which takes a tenth of the time to make them."""
    if not _made:
        administer(f"CREATE DATABASE {_TEMPLATE}")
        _made.append(_TEMPLATE)
        with closing(PostgresDatabase(url_of(_TEMPLATE))) as database:
            migrate(database)
    name = f"artfs_test_{secrets.token_hex(8)}"
    administer(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy")
    try:
        yield url_of(name)
    finally:
        administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def drop_template() -> None:
    while _made:
        administer(f"DROP DATABASE {_made.pop()} WITH (FORCE)")


OWN_REGISTRIES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@contextmanager
def own_registry(kind: str, root: Path, clock: Clock = time.time_ns) -> Iterator[SqlRegistry]:
    """An empty registry as its server has it, over one of the databases that OWN_REGISTRIES names."""
    if kind == "sqlite":
        opened: SqlRegistry = EmbeddedRegistry(root, clock=clock)
        yield opened
        opened.close()
        return
    with migrated_database() as url:
        opened = open_postgres_registry(url, root, clock=clock)
        yield opened
        opened.close()


def open_postgres_registry(
    url: str,
    root: Path,
    *,
    store: PackStore | None = None,
    clock: Clock = time.time_ns,
    random_bytes: RandomBytes = os.urandom,
    verify: Verify = Verify.METADATA,
    timeout_s: float = BUSY_TIMEOUT_S,
) -> SqlRegistry:
    """A registry over the database at `url`, with packs and the spool below `root`: what one server has."""
    database = PostgresDatabase(url, timeout_s=timeout_s)
    try:
        migrate(database)
        for name in ("packs", "spool"):
            (root / name).mkdir(parents=True, exist_ok=True)
        resources = Resources(
            database=database,
            store=store or LocalPackStore(root / "packs"),
            spool=root / "spool",
            maintenance_lock=database.maintenance_lock,
            clock=clock,
            random_bytes=random_bytes,
            verify=verify,
            after_change=lambda: None,
        )
        return SqlRegistry(settle_identity(database, secrets.token_hex(16)), resources)
    except BaseException:
        database.close()
        raise
