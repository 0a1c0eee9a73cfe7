"""PostgreSQL that goes away, refuses, or loses a connection: a clear error, nothing half, and all works again when it is back."""

from __future__ import annotations

import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from artfs.errors import ArtfsError, DamagedDatabase, InvalidValue, RegistryUnavailable, StorageFailed, StorageFull
from artfs.registry.database import allocate
from artfs.registry.migrations import migrate
from artfs.registry.postgres import CONNECT_TIMEOUT_S, CONNECTIONS_MAX, PostgresDatabase
from tests.contract.uploading import commit, content_of, fetch, send
from tests.postgres_server import PostgresServer, own_postgres
from tests.registries import administer, migrated_database, open_postgres_registry, url_of

WAIT_S = 60

pytestmark = [pytest.mark.falsifies("durable", "no-hang"), pytest.mark.postgres]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with own_postgres() as made:
        yield made


@pytest.fixture
def url() -> Iterator[str]:
    with migrated_database() as made:
        yield made


def terminate_sessions(url: str) -> None:
    """End all sessions of a database, as its administrator may."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def allocate_around(database: PostgresDatabase, event: Callable[[], None]) -> None:
    """A transaction that writes before and after the event."""
    with database.write() as tx:
        allocate(tx, "x")
        event()
        allocate(tx, "x")


def test_a_registry_outlives_its_database_going_away(server: PostgresServer, tmp_path: Path) -> None:
    administer("CREATE DATABASE artfs", server=server.url)
    registry = open_postgres_registry(url_of("artfs", server.url), tmp_path)
    registry.projects.create("vision")
    content = content_of({"a": b"kept" * 100})
    commit(registry, "vision", "bikes", content)
    draft = registry.drafts.open("vision")
    server.stop()
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            registry.projects.list()
        with pytest.raises(RegistryUnavailable):
            registry.aliases.move("vision", "bikes", "best", 0)
        with pytest.raises(RegistryUnavailable):
            registry.changes.position()
    server.start()
    assert fetch(registry, "vision", content.root_key) is not None
    assert send(registry, draft, content) == []
    registry.aliases.move("vision", "bikes", "best", 0)
    assert registry.aliases.list("vision", "bikes") == {"best": 0, "latest": 0}
    registry.close()


@pytest.mark.deep
def test_a_server_that_stands_still_is_waited_for_only_so_long(server: PostgresServer) -> None:
    with closing(PostgresDatabase(server.url)) as database:
        server.freeze()
        try:
            started_s = time.monotonic()
            for _ in range(2):
                with pytest.raises(RegistryUnavailable):
                    with database.read():
                        pass
            assert time.monotonic() - started_s < 6 * CONNECT_TIMEOUT_S
        finally:
            server.thaw()
        with database.read() as tx:
            assert tx.rows("SELECT 1") == [(1,)]


def test_a_transaction_cut_by_the_servers_end_leaves_nothing(server: PostgresServer) -> None:
    with closing(PostgresDatabase(server.url)) as database:
        migrate(database)
        with pytest.raises(RegistryUnavailable):
            allocate_around(database, server.stop)
        server.start()
        with database.write() as tx:
            assert allocate(tx, "x") == 1


def test_connections_lost_while_idle_are_not_noticed(url: str) -> None:
    with closing(PostgresDatabase(url)) as database:
        with database.read(), database.read():
            pass
        terminate_sessions(url)
        with database.write() as tx:
            assert allocate(tx, "x") == 1


def test_a_writer_that_loses_its_connection_lets_the_next_one_in(url: str) -> None:
    with closing(PostgresDatabase(url)) as database, closing(PostgresDatabase(url)) as other:

        def lose_and_let_in() -> None:
            terminate_sessions(url)
            with other.write() as tx:
                assert allocate(tx, "x") == 1

        with pytest.raises(RegistryUnavailable):
            allocate_around(database, lose_and_let_in)


def test_one_at_a_time_holds_the_maintenance_lock_and_losing_it_frees_it(url: str) -> None:
    with closing(PostgresDatabase(url)) as database, closing(PostgresDatabase(url)) as other:
        with database.maintenance_lock(wait=True) as held:
            assert held
            for using in (database, other):
                with using.maintenance_lock(wait=False) as held_too:
                    assert not held_too
            terminate_sessions(url)
            with other.maintenance_lock(wait=False) as held_next:
                assert held_next
        with other.maintenance_lock(wait=False) as free:
            assert free


def test_whoever_waits_for_the_maintenance_lock_gets_it_after_its_holder(url: str) -> None:
    order: list[str] = []

    def wait() -> None:
        with closing(PostgresDatabase(url)) as other, other.maintenance_lock(wait=True) as held:
            assert held
            order.append("waiter")

    with closing(PostgresDatabase(url)) as database:
        with database.maintenance_lock(wait=True):
            waiter = threading.Thread(target=wait)
            waiter.start()
            deadline_s = time.monotonic() + WAIT_S
            while _session_count(url) < 3 and time.monotonic() < deadline_s:
                time.sleep(0.01)
            order.append("holder")
        waiter.join(WAIT_S)
    assert order == ["holder", "waiter"]


def _session_count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_more_threads_than_connections_take_turns(url: str) -> None:
    with closing(PostgresDatabase(url)) as database:
        together = threading.Barrier(3 * CONNECTIONS_MAX)
        most: list[int] = []

        def read() -> None:
            together.wait(WAIT_S)
            with database.read() as tx:
                (row,) = tx.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                most.append(int(row[0]))

        threads = [threading.Thread(target=read) for _ in range(3 * CONNECTIONS_MAX)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    assert len(most) == 3 * CONNECTIONS_MAX
    assert max(most) <= CONNECTIONS_MAX + 1  # a background process of the server may be among them


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://artfs:hunter2secret@127.0.0.1:1/artfs",
        "postgresql://artfs:hunter2secret@127.0.0.1:no-port/artfs",
        "postgresql://artfs:hunter2secret@nowhere.invalid/artfs",
        "host=127.0.0.1 port=1 password=hunter2secret nonsense",
        "postgresql://artfs:hunter2secret@[::1/artfs",
    ],
)
def test_no_message_has_the_password(url: str) -> None:
    with pytest.raises((RegistryUnavailable, InvalidValue)) as refused:
        PostgresDatabase(url)
    assert "hunter2" not in _everything_said(refused.value)


def test_a_wrong_password_is_refused_without_naming_it(url: str) -> None:
    wrong = psycopg.conninfo.make_conninfo(url, password="hunter2".upper())
    with pytest.raises(RegistryUnavailable, match="authentication failed") as refused:
        PostgresDatabase(wrong)
    assert "HUNTER2" not in _everything_said(refused.value)


def _everything_said(error: ArtfsError) -> str:
    return f"{error} {error.message} {error.hint} {error!r} {''.join(traceback.format_exception(error))}"


def test_what_the_database_cannot_hold_is_the_callers_mistake(url: str) -> None:
    with closing(PostgresDatabase(url)) as database:
        for name in ("a\0b", "\udcff"):
            with pytest.raises(InvalidValue):
                with database.write() as tx:
                    allocate(tx, name)
        with database.write() as tx:
            assert allocate(tx, "x") == 1


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("53100", StorageFull),
        ("53300", RegistryUnavailable),
        ("55P03", RegistryUnavailable),
        ("57014", RegistryUnavailable),
        ("57P01", RegistryUnavailable),
        ("40001", RegistryUnavailable),
        ("58030", StorageFailed),
        ("25006", StorageFailed),
        ("42501", StorageFailed),
        ("22021", InvalidValue),
        ("XX001", DamagedDatabase),
        ("23505", DamagedDatabase),
    ],
)
def test_what_the_server_reports_gets_its_meaning(url: str, state: str, meaning: type[ArtfsError]) -> None:
    with closing(PostgresDatabase(url)) as database:
        with pytest.raises(ArtfsError) as reported:
            with database.write() as tx:
                tx.run(f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$")
        assert type(reported.value) is meaning
        with database.write() as tx:
            assert allocate(tx, "x") == 1


def test_a_database_of_another_encoding_is_refused() -> None:
    name = f"artfs_latin1_{secrets.token_hex(8)}"
    administer(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(InvalidValue, match="UTF8"):
            PostgresDatabase(url_of(name))
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")
