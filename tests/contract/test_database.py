"""What the registry needs of its database, over each implementation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from artfs.errors import DamagedDatabase, InvalidValue, RegistryUnavailable
from artfs.registry.database import IN_BATCH, Database, allocate, rows_in
from artfs.registry.migrations import migrate, scripts, settle_identity
from artfs.registry.postgres import PostgresDatabase
from artfs.registry.sqlite import SqliteDatabase
from tests.registries import empty_database

pytestmark = [pytest.mark.falsifies("whole", "durable")]

WAIT_S = 60
Open = Callable[[], Database]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one and the same database, empty at first, again and again; it waits shortly for others."""
    if request.param == "sqlite":
        yield lambda: SqliteDatabase(tmp_path / "registry.db", timeout_s=5)
    else:
        with empty_database() as url:
            yield lambda: PostgresDatabase(url, timeout_s=5)


@pytest.fixture
def database(open_database: Open) -> Iterator[Database]:
    with closing(open_database()) as opened:
        migrate(opened)
        yield opened


def allocate_and_fail(database: Database) -> int:
    with database.write() as tx:
        return allocate(tx, "x") // 0


def test_an_exception_takes_everything_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        allocate_and_fail(database)
    with database.write() as tx:
        assert allocate(tx, "x") == 1


def test_numbers_are_handed_out_once(database: Database) -> None:
    with database.write() as tx:
        assert [allocate(tx, "x", 10), allocate(tx, "x"), allocate(tx, "y"), allocate(tx, "x", 0)] == [1, 11, 1, 12]


def test_a_reader_sees_one_state(database: Database) -> None:
    with database.read() as reader:
        assert reader.rows("SELECT name FROM sequences") == []
        with database.write() as writer:
            allocate(writer, "x")
        assert reader.rows("SELECT name FROM sequences") == []
    with database.read() as reader:
        assert reader.rows("SELECT name FROM sequences") == [("x",)]


def test_a_writer_waits_for_another_only_so_long(open_database: Open, database: Database) -> None:
    with closing(open_database()) as other, database.write():
        with pytest.raises(RegistryUnavailable):
            with other.write():
                pass
    with database.write() as tx:
        allocate(tx, "x")


def test_writers_are_alone(open_database: Open, database: Database) -> None:
    """Each reads a number and writes the next one: with two at once, one would be lost."""

    def count(using: Database) -> None:
        for _ in range(25):
            with using.write(durable=False) as tx:
                row = tx.row("SELECT next FROM sequences WHERE name = 'x'")
                assert row is not None
                tx.run("UPDATE sequences SET next = ? WHERE name = 'x'", (row[0] + 1,))

    with database.write() as tx:
        tx.run("INSERT INTO sequences (name, next) VALUES ('x', 0)")
    with closing(open_database()) as other:
        threads = [threading.Thread(target=count, args=(using,)) for using in (database, other, database, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    with database.read() as reader:
        assert reader.rows("SELECT next FROM sequences WHERE name = 'x'") == [(100,)]


def test_a_stamp_from_before_a_commit_is_never_equal_to_one_from_after_it(
    open_database: Open, database: Database
) -> None:
    with closing(open_database()) as other:
        stamps = [database.stamp()]
        for writer in (database, other):
            with writer.write(durable=writer is database) as tx:
                allocate(tx, "x")
            stamps.append(database.stamp())
    assert len(set(stamps)) == 3


def test_lookups_of_any_number_find_each_once(database: Database) -> None:
    with database.write() as tx:
        tx.run_many("INSERT INTO sequences (name, next) VALUES (?, ?)", ((str(i), i) for i in range(3000)))
        for count in (0, 1, 8, 9, 64, 65, IN_BATCH, IN_BATCH + 1, 3000):
            found = list(rows_in(tx, "SELECT next FROM sequences WHERE next IN ({})", (), range(count)))
            assert sorted(row[0] for row in found) == list(range(count))


def test_many_rows_are_written_and_counted(database: Database) -> None:
    with database.write() as tx:
        tx.run("INSERT INTO sequences (name, next) VALUES ('7', 0)")
        for count, new in ((0, 0), (1, 1), (2001, 1999)):
            rows = ((str(i), i) for i in range(count))
            assert tx.run_many("INSERT INTO sequences (name, next) VALUES (?, ?) ON CONFLICT DO NOTHING", rows) == new
        assert tx.run_many("UPDATE sequences SET next = ? WHERE next = ?", ((-i, i) for i in range(1, 2001))) == 1999
        assert tx.run_many("DELETE FROM sequences WHERE next = ?", ((-i,) for i in range(3000))) == 2001
        assert tx.run_many("DELETE FROM sequences WHERE next = ?", ()) == 0


@pytest.mark.parametrize("count", [3, 1000])
def test_rows_that_cannot_be_written_take_all_of_them_back(database: Database, count: int) -> None:
    def rows(last: Callable[[], str]) -> Iterator[tuple[str, int]]:
        yield from ((str(i), i) for i in range(count))
        yield last(), 0

    def write(last: Callable[[], str]) -> None:
        with database.write() as tx:
            tx.run_many("INSERT INTO sequences (name, next) VALUES (?, ?)", rows(last))

    with pytest.raises(InvalidValue):
        write(lambda: "\udc80")
    with pytest.raises(ZeroDivisionError):
        write(lambda: str(1 // 0))
    with pytest.raises(DamagedDatabase):
        write(lambda: "0")  # twice
    with database.read() as reader:
        assert reader.rows("SELECT name FROM sequences") == []
    write(lambda: "last")


def test_a_stream_gives_every_row_while_others_are_read(database: Database) -> None:
    with database.write() as tx:
        tx.run_many("INSERT INTO sequences (name, next) VALUES (?, ?)", ((f"{i:04}", i) for i in range(2500)))
    with database.read() as reader:
        seen = 0
        for name, number in reader.stream("SELECT name, next FROM sequences WHERE next >= ? ORDER BY name", (0,)):
            if number % 500 == 0:
                assert reader.row("SELECT next FROM sequences WHERE name = ?", (name,)) == (number,)
            seen += 1
        assert seen == 2500


def test_texts_compare_by_their_bytes(database: Database) -> None:
    names = ["B", "a", "a-b", "a_b", "ab", "Z", "ä", "z", "\U0001f40d", "\ufb01"]
    with database.write() as tx:
        tx.run_many("INSERT INTO sequences (name, next) VALUES (?, 0)", ((name,) for name in names))
    with database.read() as reader:
        found = [row[0] for row in reader.rows("SELECT name FROM sequences ORDER BY name")]
        assert found == sorted(names)
        above = reader.rows("SELECT name FROM sequences WHERE name > ? ORDER BY name", ("a_b",))
        assert [row[0] for row in above] == [name for name in sorted(names) if name > "a_b"]


def test_values_come_back_as_they_were(database: Database) -> None:
    uid, large = bytes(range(256)), (1 << 63) - 1
    with database.write() as tx:
        tx.run(
            "INSERT INTO projects (id, uid, name, created_at) VALUES (?, ?, ?, ?)",
            (large, uid, "100% ? 'so' \\", -large),
        )
    with database.read() as reader:
        assert reader.rows("SELECT id, uid, name, created_at FROM projects") == [(large, uid, "100% ? 'so' \\", -large)]


def test_a_text_that_is_not_unicode_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue):
        with database.write() as tx:
            allocate(tx, "\udc80")
    with database.write() as tx:
        assert allocate(tx, "x") == 1


def test_a_closed_database_says_so(open_database: Open) -> None:
    database = open_database()
    database.close()
    with pytest.raises(RegistryUnavailable):
        with database.read():
            pass


def test_migrating_several_times_at_once_does_it_once(open_database: Open) -> None:
    databases = [open_database() for _ in range(4)]
    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    with databases[0].read() as tx:
        ran = [row[0] for row in tx.rows("SELECT number FROM migrations ORDER BY number")]
    assert ran == sorted(scripts(databases[0].dialect))
    assert settle_identity(databases[0], "first") == settle_identity(databases[1], "second") == "first"
    for database in databases:
        database.close()


def test_every_dialect_has_every_migration() -> None:
    assert scripts("postgres").keys() == scripts("sqlite").keys()


def test_a_forked_child_uses_its_own_connections(database: Database) -> None:
    with database.write() as tx:
        allocate(tx, "x")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database.write() as tx:
                status = 0 if allocate(tx, "x") == 2 else 2
            database.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.write() as tx:
        assert allocate(tx, "x") == 3


def _go_on_after_a_mistake(database: Database) -> None:
    with database.write() as tx:
        allocate(tx, "x")
        with suppress(psycopg.Error):
            tx.run("SELECT nonsense")


@pytest.mark.postgres
def test_postgresql_never_takes_a_failed_transaction_for_a_committed_one() -> None:
    with empty_database() as url, closing(PostgresDatabase(url)) as database:
        migrate(database)
        with pytest.raises(DamagedDatabase):
            _go_on_after_a_mistake(database)
        with database.write() as tx:
            assert allocate(tx, "x") == 1
