"""The SQLite implementation of the registry's database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.errors import DamagedDatabase, RegistryUnavailable
from artfs.registry.database import IN_BATCH, allocate, rows_in
from artfs.registry.migrations import migrate, scripts, settle_identity, statements
from artfs.registry.sqlite import SqliteDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "registry.db", timeout_s=0.2)
    migrate(opened)
    yield opened
    opened.close()


def allocate_and_fail(database: SqliteDatabase) -> int:
    with database.write() as tx:
        return allocate(tx, "x") // 0


def test_an_exception_takes_everything_back(database: SqliteDatabase) -> None:
    with pytest.raises(ZeroDivisionError):
        allocate_and_fail(database)
    with database.write() as tx:
        assert allocate(tx, "x") == 1


def test_numbers_are_handed_out_once(database: SqliteDatabase) -> None:
    with database.write() as tx:
        assert [allocate(tx, "x", 10), allocate(tx, "x"), allocate(tx, "y"), allocate(tx, "x", 0)] == [1, 11, 1, 12]


def test_a_reader_sees_one_state(database: SqliteDatabase) -> None:
    with database.read() as reader:
        assert reader.rows("SELECT name FROM sequences") == []
        with database.write() as writer:
            allocate(writer, "x")
        assert reader.rows("SELECT name FROM sequences") == []
    with database.read() as reader:
        assert reader.rows("SELECT name FROM sequences") == [("x",)]


def test_a_second_writer_is_told_that_it_is_busy(database: SqliteDatabase, tmp_path: Path) -> None:
    other = SqliteDatabase(tmp_path / "registry.db", timeout_s=0.1)
    with database.write():
        with pytest.raises(RegistryUnavailable):
            with other.write():
                pass
        with pytest.raises(RegistryUnavailable):
            with database.write():
                pass
    other.close()


def test_the_stamp_changes_with_every_commit_and_only_then(database: SqliteDatabase, tmp_path: Path) -> None:
    other = SqliteDatabase(tmp_path / "registry.db")
    stamps = [database.stamp(), database.stamp()]
    for writer in (database, other):
        with writer.write(durable=writer is database) as tx:
            allocate(tx, "x")
        stamps += [database.stamp(), database.stamp()]
    other.close()
    assert stamps[0::2] == stamps[1::2]
    assert len(set(stamps)) == 3


def test_lookups_of_any_number_find_each_once(database: SqliteDatabase) -> None:
    with database.write() as tx:
        tx.run_many("INSERT INTO sequences (name, next) VALUES (?, ?)", ((str(i), i) for i in range(3000)))
        for count in (0, 1, 8, 9, 64, 65, IN_BATCH, IN_BATCH + 1, 3000):
            found = list(rows_in(tx, "SELECT next FROM sequences WHERE next IN ({})", (), range(count)))
            assert sorted(row[0] for row in found) == list(range(count))


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    database.close()
    with pytest.raises(RegistryUnavailable):
        with database.read():
            pass


def test_what_is_not_a_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedDatabase):
        SqliteDatabase(tmp_path / "x.db")


def test_migrating_twice_at_once_does_it_once(tmp_path: Path) -> None:
    databases = [SqliteDatabase(tmp_path / "x.db") for _ in range(4)]
    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with databases[0].read() as tx:
        assert [row[0] for row in tx.rows("SELECT number FROM migrations")] == sorted(scripts("sqlite"))
    assert settle_identity(databases[0], "first") == settle_identity(databases[1], "second") == "first"
    for database in databases:
        database.close()


def test_comments_are_not_statements() -> None:
    assert statements("-- a; b\nCREATE x; -- c\n\nCREATE y;\n") == ["CREATE x", "CREATE y"]
