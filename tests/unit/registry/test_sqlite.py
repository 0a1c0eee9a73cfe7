"""What is particular to the SQLite implementation of the registry's database; tests/contract/test_database.py has the rest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import apsw
import pytest

from artfs.errors import DamagedDatabase, RegistryUnavailable
from artfs.registry.database import allocate
from artfs.registry.migrations import migrate, statements
from artfs.registry.sqlite import SqliteDatabase

pytestmark = [pytest.mark.falsifies("durable")]

PAGE_BYTES = 4096


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "registry.db", timeout_s=0.2)
    migrate(opened)
    yield opened
    opened.close()


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


def _of_zeros(sound: bytes) -> bytes:
    return sound[:PAGE_BYTES] + bytes(len(sound) - PAGE_BYTES)


def _empty(sound: bytes) -> bytes:
    return b""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("damaged", [_of_zeros, _empty])
def test_what_was_damaged_for_a_moment_is_read_again(tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "registry.db"
    made = SqliteDatabase(path)
    with made.write() as tx:
        tx.script("CREATE TABLE t (x)")
        tx.run_many("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 20)
    made.close()
    sound = path.read_bytes()
    database = SqliteDatabase(path)
    path.write_bytes(damaged(sound))
    for _ in range(3):
        with pytest.raises(DamagedDatabase), database.read() as tx:
            tx.rows("SELECT x FROM t")
    path.write_bytes(sound)
    with database.read() as tx:
        assert tx.row("SELECT count(*) FROM t WHERE length(x) = 3000") == (20,)
    database.close()


def test_a_commit_is_on_disk_unless_losing_it_would_do_no_harm(database: SqliteDatabase) -> None:
    asked = [True, False, True, False, True]
    found = []
    for durable in asked:
        with database.write(durable=durable) as tx:
            found.append(tx.row("PRAGMA synchronous"))
    assert found == [(2,) if durable else (1,) for durable in asked]  # FULL, of which WAL needs every bit, or NORMAL


def test_an_interrupt_while_a_transaction_begins_leaves_the_database_usable(database: SqliteDatabase) -> None:
    """Ctrl-C that arrives while BEGIN waits or reads is raised when it has returned."""

    def interrupt(frame: FrameType, event: str, function: object) -> None:
        if event == "c_return" and frame.f_code.co_name == "_transaction":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt), database.write():
        pass
    with database.write() as tx:
        assert allocate(tx, "x") == 1


def test_what_is_not_a_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedDatabase):
        SqliteDatabase(tmp_path / "x.db")


def test_a_new_database_that_another_process_just_reads_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait when it is to put a database into WAL mode."""
    other = apsw.Connection(str(tmp_path / "registry.db"))
    other.execute("BEGIN; SELECT count(*) FROM sqlite_schema")
    done = threading.Timer(0.2, other.execute, ["COMMIT"])
    done.start()
    SqliteDatabase(tmp_path / "registry.db").close()
    done.join()
    other.close()


def test_a_database_that_stays_busy_is_given_up(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "registry.db"))
    other.execute("BEGIN; SELECT count(*) FROM sqlite_schema")
    with pytest.raises(RegistryUnavailable, match="busy"):
        SqliteDatabase(tmp_path / "registry.db", timeout_s=0.1)
    other.close()


def test_comments_are_not_statements() -> None:
    assert statements("-- a; b\nCREATE x; -- c\n\nCREATE y;\n") == ["CREATE x", "CREATE y"]
